// Topics with sizes and rates; one topic with its partitions and the producers that wrote to it.

import { get, path, send } from "./api.js";
import { bytes, facts, field, h, moment, number, Rates, rate, table } from "./dom.js";

export const title = "Topics";

const rates = new Rates();

export async function mount(main, page) {
  if (page.rest[0]) return one(main, page, page.rest[0]);
  const internal = h("input", { type: "checkbox" });
  const list = table({
    caption: "Sizes are of this broker's replicas; rates are those of the last seconds.",
    key: (row) => row.name,
    empty: "There are no topics.",
    columns: [
      { title: "Topic", value: (row) => row.name, cell: (row) => h("a", { href: `#/topics/${encodeURIComponent(row.name)}` }, row.name) },
      { title: "Partitions", value: (row) => row.partitions, number: true },
      { title: "Records", value: (row) => row.records, number: true },
      { title: "Size", value: (row) => row.size_bytes, cell: (row) => bytes(row.size_bytes), number: true },
      { title: "Records in/s", value: (row) => row.messagesRate, cell: (row) => rate(row.messagesRate), number: true },
      { title: "Bytes in/s", value: (row) => row.inRate, cell: (row) => bytes(row.inRate), number: true },
      { title: "Bytes out/s", value: (row) => row.outRate, cell: (row) => bytes(row.outRate), number: true },
      { title: "", value: () => "", cell: (row) => h("a", { href: `#/messages/${encodeURIComponent(row.name)}`, "aria-label": `Messages of ${row.name}` }, "Messages") },
    ],
  });
  const refresh = async () => {
    const { topics, monotonic_ms: atMs } = await get("/v1/traffic", page.signal);
    const rows = Object.entries(topics).map(([name, topic]) => ({
      name,
      ...topic,
      messagesRate: rates.of(`${name} messages`, topic.messages_in, atMs),
      inRate: rates.of(`${name} in`, topic.bytes_in, atMs),
      outRate: rates.of(`${name} out`, topic.bytes_out, atMs),
    }));
    list.update(rows.filter((row) => internal.checked || !row.internal));
  };
  internal.addEventListener("change", () => refresh().catch(page.fail));
  main.append(newTopic(page, refresh), field("Show internal topics", internal, true), list.element);
  await page.every(2000, refresh);
}

function newTopic(page, refresh) {
  const name = h("input", { required: true, size: 24, autocomplete: "off" });
  const partitions = h("input", { type: "number", min: 1, value: 1, size: 5 });
  const create = (event) => {
    event.preventDefault();
    page.act(`Topic ${name.value} created.`, async () => {
      await send("POST", "/v1/topics", { name: name.value, partitions: Number(partitions.value) });
      name.value = "";
      await refresh();
    });
  };
  return h("form", { class: "row", onsubmit: create, "aria-label": "New topic" },
    field("New topic", name), field("Partitions", partitions), h("button", { type: "submit" }, "Create"));
}

async function one(main, page, name) {
  page.setTitle(`Topic ${name}`);
  const about = h("div");
  const partitions = table({
    caption: "Partitions",
    key: (row) => row.partition,
    columns: [
      { title: "Partition", value: (row) => row.partition, number: true },
      { title: "First offset", value: (row) => row.start, number: true },
      { title: "Next offset", value: (row) => row.end, number: true },
      { title: "Last stable offset", value: (row) => row.last_stable, number: true },
      { title: "Size", value: (row) => row.size_bytes, cell: (row) => bytes(row.size_bytes), number: true },
      { title: "Segments", value: (row) => row.segments, number: true },
      { title: "Leader", value: (row) => row.leader, number: true },
      { title: "Leader epoch", value: (row) => row.leader_epoch, number: true },
      { title: "Replicas", value: (row) => row.replicas.join(", ") },
      { title: "In sync", value: (row) => row.isr.join(", ") },
    ],
  });
  const producers = table({
    caption: "Producers that wrote to this topic",
    key: (row) => `${row.partition} ${row.producer_id}`,
    empty: "No idempotent or transactional producer wrote to it.",
    columns: [
      { title: "Partition", value: (row) => row.partition, number: true },
      { title: "Producer id", value: (row) => row.producer_id, number: true },
      { title: "Epoch", value: (row) => row.producer_epoch, number: true },
      { title: "Last sequence", value: (row) => row.last_sequence, number: true },
      { title: "Last write", value: (row) => row.last_timestamp, cell: (row) => moment(row.last_timestamp) },
      { title: "Open transaction from offset", value: (row) => row.transaction_began_at, number: true },
    ],
  });
  main.append(
    h("p", {}, h("a", { href: `#/messages/${encodeURIComponent(name)}` }, "Messages"), " · ",
      h("a", { href: `#/configs?type=topic&name=${encodeURIComponent(name)}` }, "Configs")),
    about, h("h2", {}, "Partitions"), partitions.element, h("h2", {}, "Producers"), producers.element);
  await page.every(2000, async () => {
    const topic = await get(path("topics", name), page.signal);
    const total = topic.partitions.reduce((sum, each) => sum + (each.end ?? 0) - (each.start ?? 0), 0);
    about.replaceChildren(facts([
      ["Topic id", topic.topic_id],
      ["Records", number(total)],
      ["Own configs", Object.entries(topic.configs).map(([key, value]) => `${key}=${value}`).join(", ") || "none"],
    ]));
    partitions.update(topic.partitions);
    producers.update(await get(path("topics", name, "producers"), page.signal));
  });
}
