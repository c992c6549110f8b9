// Transactional ids with their states.

import { get, send } from "./api.js";
import { h, moment, table } from "./dom.js";

export const title = "Transactions";

export async function mount(main, page) {
  const list = table({
    caption: "Transactional ids. The producers of a topic are on the page of the topic.",
    key: (row) => row.transactional_id,
    empty: "There are no transactional ids.",
    columns: [
      { title: "Transactional id", value: (row) => row.transactional_id },
      { title: "State", value: (row) => row.state },
      { title: "Producer id", value: (row) => row.producer_id, number: true },
      { title: "Epoch", value: (row) => row.producer_epoch, number: true },
      { title: "Began (UTC)", value: (row) => row.started_ms, cell: (row) => moment(row.started_ms), time: true },
      { title: "Timeout in ms", value: (row) => row.timeout_ms, number: true },
      { title: "Partitions", value: (row) => Object.entries(row.partitions).map(([topic, found]) => `${topic}: ${found.join(", ")}`).join("; ") },
      {
        title: "", value: () => "",
        cell: (row) => h("button", {
          type: "button",
          "aria-label": `Fence the producer of ${row.transactional_id}`,
          onclick: () => page.act("The producer was fenced.", () => send("POST", "/v1/events", { event: "producer_fenced", transactional_id: row.transactional_id })),
        }, "Fence producer"),
      },
    ],
  });
  main.append(list.element);
  await page.every(2000, async () => list.update(await get("/v1/transactions", page.signal)));
}
