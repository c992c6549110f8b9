// Configs of the broker, a topic, a group or a subscription of client metrics, with the source of each value.

import { get, query } from "./api.js";
import { facts, field, h, number, options, table } from "./dom.js";

export const title = "Configs";

const TYPES = [["broker", "broker"], ["topic", "topic"], ["group", "group"], ["client-metrics", "client metrics subscription"]];

export async function mount(main, page) {
  const type = h("select", {}, options(TYPES, page.search.get("type") ?? "broker"));
  const name = h("input", { value: page.search.get("name") ?? "", autocomplete: "off" });
  const filter = h("input", { type: "search", autocomplete: "off" });
  const changed = h("input", { type: "checkbox" });
  const note = h("p", { role: "status" });
  let rows = [];
  const list = table({
    caption: "The source is the one that the value comes from; Details has all of them, in the order in which they count.",
    key: (row) => row.name,
    details,
    columns: [
      { title: "Config", value: (row) => row.name },
      { title: "Value", value: (row) => (row.sensitive ? "hidden" : row.value) },
      { title: "Source", value: (row) => row.source },
      { title: "Can change at run time", value: (row) => (row.read_only ? "no" : "yes") },
    ],
  });
  const show = () => {
    const found = rows.filter((row) => row.name.includes(filter.value) && (!changed.checked || row.source !== "default"));
    list.update(found);
    note.textContent = `${number(found.length)} of ${number(rows.length)} configs.`;
  };
  const read = async () => {
    const own = type.value === "broker" && name.value === "" ? {} : { name: name.value };
    rows = await get("/v1/configs" + query({ type: type.value, ...own }), page.signal);
    show();
  };
  filter.addEventListener("input", show);
  changed.addEventListener("change", show);
  main.append(h("form", {
    class: "row",
    "aria-label": "Which configs",
    onsubmit: (event) => {
      event.preventDefault();
      read().catch(page.fail);
    },
  }, field("Of", type), field("Name (empty for this broker)", name), h("button", { type: "submit" }, "Read"),
  field("Filter", filter), field("Only those that are not defaults", changed, true)), note, list.element);
  await read();
}

const details = (row) => [
  row.documentation ? h("p", {}, row.documentation) : null,
  facts(row.sources.length
    ? row.sources.map((each) => [each.source, `${each.name} = ${row.sensitive ? "hidden" : each.value}`])
    : [[row.source, row.sensitive ? "hidden" : row.value]]),
];
