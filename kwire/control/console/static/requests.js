// The request log: who sent what, what was answered, how long it took, which fault rules disturbed it.

import { get, query, send } from "./api.js";
import { counted, facts, field, h, long, moment, number, table } from "./dom.js";
import { live } from "./live.js";

export const title = "Requests";

const KEPT = 500;
const FILTERS = [["api", "API"], ["client_id", "Client id"], ["principal", "Principal"], ["topic", "Topic"], ["group", "Group"]];

export async function mount(main, page) {
  const inputs = Object.fromEntries(FILTERS.map(([name]) => [name, h("input", { size: 12, autocomplete: "off" })]));
  const note = h("p", { role: "status" });
  const list = table({
    caption: "The newest first. Times are those of the broker's clock (UTC).",
    key: (row) => row.number,
    name: (row) => `request ${row.number}, ${row.api}`,
    empty: "No requests.",
    details,
    columns: [
      { title: "Number", value: (row) => row.number, number: true },
      { title: "Time", value: (row) => row.at_ms, cell: (row) => moment(row.at_ms).slice(11), time: true },
      { title: "API", value: (row) => `${row.api} v${row.version}` },
      { title: "Client id", value: (row) => row.client_id },
      { title: "Peer", value: (row) => row.peer },
      { title: "Principal", value: (row) => row.principal },
      { title: "Outcome", value: (row) => row.outcome },
      { title: "Took ms", value: (row) => row.took_ms, number: true },
      { title: "Faults", value: (row) => row.faults.join(", ") },
    ],
  });
  let rows = [];

  const wanted = () => Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value]));
  const show = () => {
    list.update(rows);
    note.textContent = `${counted(rows.length, "request")}.`;
  };

  async function read() {
    tail.stop();
    note.setAttribute("aria-live", "polite");
    const found = await get("/v1/requests" + query({ ...wanted(), last: KEPT }), page.signal);
    // The button may have been pressed since.
    if (tail.running()) return;
    rows = found.reverse();
    show();
  }

  const tail = live(page, {
    where: () => "/v1/requests/stream" + query(wanted()),
    begin() {
      note.textContent = "Requests appear here as they are answered.";
    },
    take: (entry) => (rows = [entry, ...rows].slice(0, KEPT)),
    show() {
      show();
      // Not read aloud: the number changes all the time.
      note.setAttribute("aria-live", "off");
    },
  });

  const empty = () => page.act("The request log is empty.", async () => {
    await send("DELETE", "/v1/requests");
    rows = [];
    show();
  });
  main.append(h("form", {
    class: "row",
    "aria-label": "Which requests",
    onsubmit: (event) => {
      event.preventDefault();
      read().catch(page.fail);
    },
  }, FILTERS.map(([name, label]) => field(label, inputs[name])), h("button", { type: "submit" }, "Read"), tail.button,
  h("button", { type: "button", onclick: empty }, "Empty the log")), note, list.element);
  await read();
}

const details = (row) => [
  facts([["Correlation id", number(row.correlation_id)], ["Listener", row.listener]]),
  h("h2", {}, "Request"), long("Request", JSON.stringify(row.request, null, 2)),
  h("h2", {}, "Response"), long("Response", JSON.stringify(row.response, null, 2)),
];
