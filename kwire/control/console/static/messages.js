// Records of a topic: the last ones, from an offset or a time on, search, the live tail; and producing by hand.

import { follow, get, path, query, send } from "./api.js";
import { facts, field, h, moment, number, options, table } from "./dom.js";

export const title = "Messages";

const KEPT = 500;
const HEX_BYTES = 4096;

export async function mount(main, page) {
  const topics = await get("/v1/topics", page.signal);
  const names = Object.keys(topics);
  const name = page.rest[0] ?? "";
  const chosen = h("select", {}, h("option", { value: "" }, "– choose –"), options(names.map((each) => [each, each]), name));
  chosen.addEventListener("change", () => (location.hash = `#/messages/${encodeURIComponent(chosen.value)}`));
  main.append(h("form", { class: "row", onsubmit: (event) => event.preventDefault() }, field("Topic", chosen)));
  if (!name) return;
  page.setTitle(`Messages of ${name}`);
  if (!Object.hasOwn(topics, name)) throw new Error(`There is no topic ${name}.`);
  const partitions = topics[name].map((each) => [String(each.partition), String(each.partition)]);
  const reader = reading(page, name, partitions);
  main.append(reader.element, producing(page, name, partitions));
  await reader.read();
}

function reading(page, name, partitions) {
  const partition = h("select", {}, options([["", "all"], ...partitions], ""));
  const from = h("select", {}, options([["last", "the last"], ["offset", "from offset"], ["time", "from time (UTC)"]], "last"));
  const offset = h("input", { type: "number", min: 0, value: 0 });
  const time = h("input", { type: "datetime-local", step: 1 });
  const last = h("input", { type: "number", min: 1, max: KEPT, value: 50 });
  const search = h("input", { type: "search", autocomplete: "off" });
  const tail = h("button", { type: "button", "aria-pressed": "false" }, "Follow live");
  const more = h("button", { type: "button", hidden: true }, "Search on");
  const note = h("p", { role: "status" });
  const offsetField = field("Offset", offset);
  const timeField = field("Time", time);
  const records = table({
    caption: "Keys and values as text; Details has JSON and bytes.",
    key: (row) => `${row.partition} ${row.offset}`,
    empty: "No records here.",
    details,
    columns: [
      { title: "Partition", value: (row) => row.partition, number: true },
      { title: "Offset", value: (row) => row.offset, number: true },
      { title: "Time (UTC)", value: (row) => row.timestamp, cell: (row) => moment(row.timestamp) },
      { title: "Key", value: (row) => preview(row.key), preview: true },
      { title: "Value", value: (row) => preview(row.value), preview: true },
      { title: "Headers", value: (row) => row.headers.length, number: true },
    ],
  });
  let rows = [];
  let following = null;
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
    stop();
    more.hidden = true;
    if (search.value) {
      rows = [];
      return searchFrom([selection()]);
    }
    rows = (await get(path("topics", name, "records") + query(selection()), page.signal)).sort((one, other) => one.timestamp - other.timestamp);
    records.update(rows);
    note.textContent = `${number(rows.length)} records.`;
  }

  async function searchFrom(places) {
    let scanned = 0;
    next = {};
    for (const place of places) {
      const found = await get(path("topics", name, "search") + query({ ...place, text: search.value }), page.signal);
      scanned += found.scanned;
      rows = [...rows, ...found.records].slice(-KEPT);
      Object.assign(next, found.next);
    }
    records.update(rows);
    more.hidden = Object.keys(next).length === 0;
    note.textContent = `${number(rows.length)} records found in ${number(scanned)}${more.hidden ? "" : "; there are more"}.`;
  }

  async function start() {
    following = new AbortController();
    page.signal.addEventListener("abort", () => following?.abort());
    tail.setAttribute("aria-pressed", "true");
    rows = [];
    records.update(rows);
    note.textContent = "Records appear here as they are written.";
    let due = null;
    let skipped = 0;
    const shown = () => {
      due = null;
      records.update(rows);
      note.textContent = `${number(rows.length)} records${skipped ? `; ${number(skipped)} were skipped` : ""}.`;
    };
    const where = path("topics", name, "records", "stream") + query({ partition: partition.value });
    try {
      await follow(where, (record, kind) => {
        if (kind === "message") rows = [record, ...rows].slice(0, KEPT);
        if (kind === "skipped") skipped += record.records;
        if (kind === "end") page.announce(`The stream ended: ${record.reason}.`);
        due ??= setTimeout(shown, 200);
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
  more.addEventListener("click", () => searchFrom(Object.entries(next).map(([index, at]) => ({ partition: index, offset: at, last: last.value }))).catch(page.fail));
  const form = h("form", {
    class: "row",
    "aria-label": "Which records",
    onsubmit: (event) => {
      event.preventDefault();
      read().catch(page.fail);
    },
  }, field("Partition", partition), field("Show", from), offsetField, timeField, field("At most", last), field("Search for text", search),
    h("button", { type: "submit" }, "Read"), tail, more);
  return { element: h("div", {}, form, note, records.element), read };
}

function details(record) {
  const forms = h("select", {}, options([["text", "text"], ["json", "JSON"], ["hex", "bytes"]], looksLikeJson(record.value) ? "json" : "text"));
  const key = h("pre");
  const value = h("pre");
  const show = () => {
    key.textContent = shownAs(record.key, forms.value);
    value.textContent = shownAs(record.value, forms.value);
  };
  forms.addEventListener("change", show);
  show();
  return [
    facts([
      ["Place", `${record.topic}-${record.partition} at offset ${record.offset}`],
      ["Time", `${moment(record.timestamp)} UTC (${record.timestamp})`],
    ]),
    record.headers.length ? facts(record.headers.map(([name, content]) => [`Header ${name}`, preview(content)])) : null,
    field("Show key and value as", forms, true),
    h("h2", {}, "Key"), key, h("h2", {}, "Value"), value,
  ];
}

// Bytes that are not UTF-8 come as {"base64": ...}.
function toBytes(content) {
  if (typeof content === "string") return new TextEncoder().encode(content);
  return Uint8Array.from(atob(content.base64), (letter) => letter.charCodeAt(0));
}

function preview(content) {
  if (content === null) return "null";
  if (typeof content === "string") return content.length > 300 ? `${content.slice(0, 300)}…` : content;
  return `${number(toBytes(content).length)} bytes: ${hex(toBytes(content).slice(0, 16))}`;
}

function looksLikeJson(content) {
  return typeof content === "string" && /^\s*[[{]/.test(content) && shownAs(content, "json") !== content;
}

function shownAs(content, form) {
  if (content === null) return "null";
  if (form === "hex") return dump(toBytes(content));
  if (typeof content !== "string") return new TextDecoder().decode(toBytes(content));
  if (form === "json") {
    try {
      return JSON.stringify(JSON.parse(content), null, 2);
    } catch {
      return content;
    }
  }
  return content;
}

const hex = (content) => Array.from(content, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

function dump(content) {
  const lines = [];
  for (let at = 0; at < Math.min(content.length, HEX_BYTES); at += 16) {
    const part = content.slice(at, at + 16);
    const letters = Array.from(part, (byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${hex(part).padEnd(47)}  ${letters}`);
  }
  if (content.length > HEX_BYTES) lines.push(`… ${number(content.length - HEX_BYTES)} more bytes`);
  return lines.join("\n") || "(empty)";
}

function producing(page, name, partitions) {
  const key = h("input", { autocomplete: "off" });
  const noKey = h("input", { type: "checkbox", checked: true });
  const value = h("textarea", { rows: 4 });
  const noValue = h("input", { type: "checkbox" });
  const headers = h("textarea", { rows: 2, placeholder: "name: value" });
  const partition = h("select", {}, options([["", "by key"], ...partitions], ""));
  key.addEventListener("input", () => (noKey.checked = false));
  const produce = (event) => {
    event.preventDefault();
    const record = {
      key: noKey.checked ? null : key.value,
      value: noValue.checked ? null : value.value,
      headers: headers.value.split("\n").filter((line) => line.includes(":")).map((line) => [line.slice(0, line.indexOf(":")).trim(), line.slice(line.indexOf(":") + 1).trim()]),
    };
    if (partition.value !== "") record.partition = Number(partition.value);
    page.act("", async () => {
      const [written] = await send("POST", path("topics", name, "records"), { records: [record] });
      page.announce(`Written to ${name}-${written.partition} at offset ${written.offset}.`);
    });
  };
  return h("section", {}, h("h2", {}, "Produce"),
    h("form", { class: "stack", onsubmit: produce, "aria-label": "Produce" },
      field("Key", key), field("No key (null)", noKey, true), field("Value", value), field("No value (null): a tombstone", noValue, true),
      field("Headers, one on each line", headers), field("Partition", partition), h("p", {}, h("button", { type: "submit" }, "Send"))));
}
