// The request log: who sent what, what was answered, how long it took, which fault rules disturbed it.

import { follow, get, query, send } from "./api.js";
import { facts, field, h, moment, number, table } from "./dom.js";

export const title = "Requests";

const KEPT = 500;
const FILTERS = [["api", "API"], ["client_id", "Client id"], ["principal", "Principal"], ["topic", "Topic"], ["group", "Group"]];

export async function mount(main, page) {
  const inputs = Object.fromEntries(FILTERS.map(([name]) => [name, h("input", { size: 12, autocomplete: "off" })]));
  const tail = h("button", { type: "button", "aria-pressed": "false" }, "Follow live");
  const note = h("p", { role: "status" });
  const list = table({
    caption: "The newest first. Times are those of the broker's clock (UTC).",
    key: (row) => row.number,
    empty: "No requests.",
    details,
    columns: [
      { title: "Number", value: (row) => row.number, number: true },
      { title: "Time", value: (row) => row.at_ms, cell: (row) => moment(row.at_ms).slice(11) },
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
  let following = null;

  const wanted = () => Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value]));
  const show = () => {
    list.update(rows);
    note.textContent = `${number(rows.length)} requests.`;
  };

  async function read() {
    stop();
    rows = (await get("/v1/requests" + query({ ...wanted(), last: KEPT }), page.signal)).reverse();
    show();
  }

  async function start() {
    following = new AbortController();
    page.signal.addEventListener("abort", () => following?.abort());
    tail.setAttribute("aria-pressed", "true");
    let due = null;
    try {
      await follow("/v1/requests/stream" + query(wanted()), (entry) => {
        rows = [entry, ...rows].slice(0, KEPT);
        due ??= setTimeout(() => {
          due = null;
          show();
        }, 200);
      }, following.signal);
    } catch (error) {
      page.fail(error);
    }
    stop();
  }

  function stop() {
    following?.abort();
    following = null;
    tail.setAttribute("aria-pressed", "false");
  }

  tail.addEventListener("click", () => (following ? stop() : start()));
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
  }, FILTERS.map(([name, label]) => field(label, inputs[name])), h("button", { type: "submit" }, "Read"), tail,
  h("button", { type: "button", onclick: empty }, "Empty the log")), note, list.element);
  await read();
}

const details = (row) => [
  facts([["Correlation id", number(row.correlation_id)], ["Listener", row.listener]]),
  h("h2", {}, "Request"), h("pre", {}, JSON.stringify(row.request, null, 2)),
  h("h2", {}, "Response"), h("pre", {}, JSON.stringify(row.response, null, 2)),
];
