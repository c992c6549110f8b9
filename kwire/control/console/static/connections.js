// Clients that are connected, with what each sends and gets; requests by API.

import { get } from "./api.js";
import { bytes, h, Rates, rate, table } from "./dom.js";

export const title = "Connections";

const rates = new Rates();

export async function mount(main, page) {
  const clients = table({
    caption: "Bytes are those of record batches.",
    key: (row) => row.peer,
    empty: "No client is connected.",
    columns: [
      { title: "Client id", value: (row) => row.client_id },
      { title: "Software", value: (row) => [row.software, row.software_version].filter(Boolean).join(" ") || null },
      { title: "Peer", value: (row) => row.peer },
      { title: "Listener", value: (row) => row.listener },
      { title: "Principal", value: (row) => row.principal },
      { title: "Requests", value: (row) => row.requests, number: true },
      { title: "Requests/s", value: (row) => row.requestRate, cell: (row) => rate(row.requestRate), number: true },
      { title: "Bytes in/s", value: (row) => row.inRate, cell: (row) => bytes(row.inRate), number: true },
      { title: "Bytes out/s", value: (row) => row.outRate, cell: (row) => bytes(row.outRate), number: true },
      { title: "Waits", value: (row) => (row.waits ? "yes" : "no") },
    ],
  });
  const apis = table({
    caption: "Requests by API since the start",
    key: (row) => row.api,
    columns: [
      { title: "API", value: (row) => row.api },
      { title: "Requests", value: (row) => row.count, number: true },
      { title: "Requests/s", value: (row) => row.requestRate, cell: (row) => rate(row.requestRate), number: true },
      { title: "Refused", value: (row) => row.errors, number: true },
      { title: "Mean time in ms", value: (row) => row.mean_ms, number: true },
    ],
  });
  main.append(clients.element, h("h2", {}, "Requests"), apis.element);
  await page.every(2000, async () => {
    const [connections, traffic] = await Promise.all([get("/v1/connections", page.signal), get("/v1/traffic", page.signal)]);
    const atMs = traffic.monotonic_ms;
    clients.update(connections.map((each) => ({
      ...each,
      requestRate: rates.of(`${each.peer} requests`, each.requests, atMs),
      inRate: rates.of(`${each.peer} in`, each.bytes_in, atMs),
      outRate: rates.of(`${each.peer} out`, each.bytes_out, atMs),
    })));
    apis.update(Object.entries(traffic.requests).map(([api, counts]) => ({ api, ...counts, requestRate: rates.of(`api ${api}`, counts.count, atMs) })));
  });
}
