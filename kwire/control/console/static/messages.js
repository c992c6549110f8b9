// Records of a topic: the last ones, from an offset or a time on, search, the live tail; and producing by hand.

import { get, path, query, send } from "./api.js";
import { forms, partPreview, preview, schemaOf, shownAs } from "./contents.js";
import { counted, facts, field, h, long, moment, number, options, table } from "./dom.js";
import { live } from "./live.js";

export const title = "Messages";

const KEPT = 500;

export async function mount(main, page) {
  const topics = await get("/v1/topics", page.signal);
  const names = Object.keys(topics);
  const name = page.rest[0] ?? "";
  const chosen = h("select", {}, h("option", { value: "" }, "– choose –"), options(names.map((each) => [each, each]), name));
  // Not at each change of the selection: an arrow key is one.
  const choose = (event) => {
    event.preventDefault();
    location.hash = `#/messages/${encodeURIComponent(chosen.value)}`;
  };
  main.append(h("form", { class: "row", "aria-label": "Which topic", onsubmit: choose }, field("Topic", chosen), h("button", { type: "submit" }, "Choose")));
  if (!name) return;
  page.setTitle(`Messages of ${name}`);
  if (!Object.hasOwn(topics, name)) throw new Error(`There is no topic ${name}.`);
  const partitions = topics[name].map((each) => [String(each.partition), String(each.partition)]);
  const { schema_registry: registry } = await get("/v1/broker", page.signal);
  const reader = reading(page, name, partitions, registry);
  main.append(reader.element, producing(page, name, partitions, registry));
  await reader.read();
}

function reading(page, name, partitions, registry) {
  const partition = h("select", {}, options([["", "all"], ...partitions], ""));
  const from = h("select", {}, options([["last", "the last"], ["offset", "from offset"], ["time", "from time (UTC)"]], "last"));
  const offset = h("input", { type: "number", min: 0, value: 0 });
  const time = h("input", { type: "datetime-local", step: 1 });
  const last = h("input", { type: "number", min: 1, max: KEPT, value: 50 });
  const search = h("input", { type: "search", autocomplete: "off" });
  const more = h("button", { type: "button", hidden: true }, "Search on");
  const note = h("p", { role: "status" });
  const offsetField = field("Offset", offset);
  const timeField = field("Time", time);
  const records = table({
    caption: registry ? `Keys and values as text, decoded by the schemas of ${registry}; Details has JSON and bytes.` : "Keys and values as text; Details has JSON and bytes.",
    key: (row) => `${row.partition} ${row.offset}`,
    name: (row) => `partition ${row.partition} offset ${row.offset}`,
    empty: "No records here.",
    details,
    columns: [
      { title: "Partition", value: (row) => row.partition, number: true },
      { title: "Offset", value: (row) => row.offset, number: true },
      { title: "Time (UTC)", value: (row) => row.timestamp, cell: (row) => moment(row.timestamp), time: true },
      { title: "Key", value: (row) => partPreview(row, "key"), preview: true },
      { title: "Value", value: (row) => partPreview(row, "value"), preview: true },
      { title: "Headers", value: (row) => row.headers.length, number: true },
    ],
  });
  let rows = [];
  let skipped = 0;
  let next = {};

  const choose = () => {
    offsetField.hidden = from.value !== "offset";
    timeField.hidden = from.value !== "time";
  };
  from.addEventListener("change", choose);
  choose();

  function selection() {
    return {
      partition: partition.value,
      offset: from.value === "offset" ? offset.value : "",
      timestamp: from.value === "time" && time.value ? Date.parse(`${time.value}Z`) : "",
      last: last.value,
    };
  }

  async function read() {
    tail.stop();
    more.hidden = true;
    if (search.value) {
      rows = [];
      return searchFrom([selection()]);
    }
    note.setAttribute("aria-live", "polite");
    const found = await get(path("topics", name, "records") + query(selection()), page.signal);
    // The button may have been pressed since.
    if (tail.running()) return;
    rows = found.sort((one, other) => one.timestamp - other.timestamp);
    records.update(rows);
    note.textContent = `${counted(rows.length, "record")}.`;
  }

  async function searchFrom(places) {
    let scanned = 0;
    next = {};
    for (const place of places) {
      const found = await get(path("topics", name, "search") + query({ ...place, text: search.value }), page.signal);
      if (tail.running()) return;
      scanned += found.scanned;
      rows = [...rows, ...found.records].slice(-KEPT);
      Object.assign(next, found.next);
    }
    records.update(rows);
    note.setAttribute("aria-live", "polite");
    const atMore = document.activeElement === more;
    more.hidden = Object.keys(next).length === 0;
    if (atMore && more.hidden) search.focus();
    note.textContent = `${counted(rows.length, "record")} found in ${number(scanned)}${more.hidden ? "" : "; there are more"}.`;
  }

  const tail = live(page, {
    where: () => path("topics", name, "records", "stream") + query({ partition: partition.value }),
    begin() {
      rows = [];
      skipped = 0;
      more.hidden = true;
      records.update(rows);
      note.textContent = "Records appear here as they are written.";
    },
    take(record, kind) {
      if (kind === "message") rows = [record, ...rows].slice(0, KEPT);
      if (kind === "skipped") skipped += record.records;
      if (kind === "end") page.announce(`The stream ended: ${record.reason}.`);
    },
    show() {
      records.update(rows);
      // Not read aloud: the number changes all the time.
      note.setAttribute("aria-live", "off");
      note.textContent = `${counted(rows.length, "record")}${skipped ? `; ${number(skipped)} were skipped` : ""}.`;
    },
  });

  more.addEventListener("click", () => searchFrom(Object.entries(next).map(([index, at]) => ({ partition: index, offset: at, last: last.value }))).catch(page.fail));
  const form = h("form", {
    class: "row",
    "aria-label": "Which records",
    onsubmit: (event) => {
      event.preventDefault();
      read().catch(page.fail);
    },
  }, field("Partition", partition), field("Show", from), offsetField, timeField, field("At most", last), field("Search for text", search),
    h("button", { type: "submit" }, "Read"), tail.button, more);
  return { element: h("div", {}, form, note, records.element), read };
}

function details(record) {
  const choices = forms(record);
  const form = h("select", {}, options(choices, choices[0][0]));
  const key = long("Key");
  const value = long("Value");
  const show = () => {
    key.textContent = shownAs(record, "key", form.value);
    value.textContent = shownAs(record, "value", form.value);
  };
  form.addEventListener("change", show);
  show();
  const schemas = ["key", "value"].map((part) => [`Schema of the ${part}`, schemaOf(record, part)]);
  return [
    facts([
      ["Place", `${record.topic}-${record.partition} at offset ${record.offset}`],
      ["Time", `${moment(record.timestamp)} UTC (${record.timestamp})`],
      ...schemas.filter(([, schema]) => schema !== null),
    ]),
    record.headers.length ? facts(record.headers.map(([name, content]) => [`Header ${name}`, preview(content)])) : null,
    field("Show key and value as", form, true),
    h("h2", {}, "Key"), key, h("h2", {}, "Value"), value,
  ];
}

function producing(page, name, partitions, registry) {
  const key = h("input", { autocomplete: "off" });
  const noKey = h("input", { type: "checkbox", checked: true });
  const value = h("textarea", { rows: 4 });
  const noValue = h("input", { type: "checkbox" });
  const headers = h("textarea", { rows: 2, placeholder: "name: value" });
  const partition = h("select", {}, options([["", "by key"], ...partitions], ""));
  const keySchema = schemaFields("key");
  const valueSchema = schemaFields("value");
  key.addEventListener("input", () => (noKey.checked = false));
  const produce = (event) => {
    event.preventDefault();
    page.act("", async () => {
      const fields = {
        key: noKey.checked ? "null" : keySchema.json(key.value),
        value: noValue.checked ? "null" : valueSchema.json(value.value),
        headers: JSON.stringify(headers.value.split("\n").filter((line) => line.includes(":")).map((line) => [line.slice(0, line.indexOf(":")).trim(), line.slice(line.indexOf(":") + 1).trim()])),
      };
      if (partition.value !== "") fields.partition = partition.value;
      const body = { records: `[${object(fields)}]`, key_schema: keySchema.choice(), value_schema: valueSchema.choice() };
      const [written] = await send("POST", path("topics", name, "records"), object(body));
      page.announce(`Written to ${name}-${written.partition} at offset ${written.offset}.`);
    });
  };
  return h("section", {}, h("h2", {}, "Produce"),
    h("form", { class: "stack", onsubmit: produce, "aria-label": "Produce" },
      field("Key", key), field("No key (null)", noKey, true), registry ? keySchema.elements : null,
      field("Value", value), field("No value (null): a tombstone", noValue, true), registry ? valueSchema.elements : null,
      field("Headers, one on each line", headers), field("Partition", partition), h("p", {}, h("button", { type: "submit" }, "Send"))));
}

// An object whose values are JSON already: numbers that the user typed keep all their digits.
const object = (fields) => `{${Object.entries(fields).map(([name, json]) => `${JSON.stringify(name)}: ${json}`).join(", ")}}`;

// Which schema the key or value is encoded by. A number is an id.
function schemaFields(part) {
  const schema = h("input", { autocomplete: "off" });
  const message = h("input", { autocomplete: "off" });
  const chosen = () => schema.value.trim();
  return {
    elements: [field(`Schema of the ${part}: a subject or an id; empty: text as it is`, schema), field(`Protobuf message of the ${part}; empty: the first`, message)],
    choice() {
      if (!chosen()) return "null";
      const choice = /^\d+$/.test(chosen()) ? { id: Number(chosen()) } : { subject: chosen() };
      return JSON.stringify(message.value.trim() ? { ...choice, message: message.value.trim() } : choice);
    },
    json(text) {
      if (!chosen()) return JSON.stringify(text);
      try {
        JSON.parse(text);
      } catch (error) {
        throw new Error(`The ${part} is not JSON: ${error.message}.`);
      }
      return text;
    },
  };
}
