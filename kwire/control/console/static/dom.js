// Elements, tables and texts. No HTML is made of strings: each value becomes a text node, so that nothing that a client
// has sent can run.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

// A table whose rows are kept while they are shown, so that an update neither moves the focus nor is read aloud again.
// A column is {title, value(row), cell(row)}, and number, preview or time: `value` is compared and sorted by, `cell` is what is
// shown in place of it. `details(row)` gives what a button of the row opens; `name(row)` tells a screen reader which row.
export function table({ caption, columns, key, name = key, details = null, empty = "Nothing here." }) {
  const body = h("tbody");
  const none = h("p", { class: "empty" }, empty);
  const shown = new Map();
  const opened = new Map();
  let rows = [];
  let sorted = null;
  const heads = columns.map((column, index) =>
    h("th", { scope: "col", class: column.number ? "number" : null },
      column.title ? h("button", { type: "button", onclick: () => sortBy(index) }, column.title) : h("span", { class: "unseen" }, "Actions")));
  const element = h("div", { class: "scroll", tabindex: -1 },
    h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, heads, details ? h("th", { scope: "col" }, h("span", { class: "unseen" }, "Details")) : null)), body), none);

  function sortBy(index) {
    sorted = sorted && sorted.index === index ? { index, down: !sorted.down } : { index, down: Boolean(columns[index].number) };
    heads.forEach((head, at) => {
      if (at === index) head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    update(rows);
  }

  function inOrder() {
    if (!sorted) return rows;
    const { value } = columns[sorted.index];
    const ordered = [...rows].sort((one, other) => compare(value(one), value(other)));
    return sorted.down ? ordered.reverse() : ordered;
  }

  function newRow(id, row) {
    const cells = columns.map((column) => h("td", { class: ["number", "preview", "time"].find((kind) => column[kind]) ?? null }));
    const button = details && h("button", { type: "button", "aria-expanded": "false", "aria-label": `Details of ${name(row)}` }, "Details");
    const tr = h("tr", {}, cells, details ? h("td", {}, button) : null);
    const entry = { tr, cells, values: [], row };
    if (button) {
      button.addEventListener("click", () => {
        const open = !opened.has(id);
        button.setAttribute("aria-expanded", String(open));
        if (open) {
          const panel = h("tr", { class: "details" }, h("td", { colspan: columns.length + 1 }, details(entry.row)));
          opened.set(id, panel);
          tr.after(panel);
        } else close(id);
      });
    }
    return entry;
  }

  function close(id) {
    opened.get(id)?.remove();
    opened.delete(id);
  }

  function update(given) {
    rows = given;
    const ids = new Set();
    let before = body.firstChild;
    for (const row of inOrder()) {
      const id = key(row);
      ids.add(id);
      if (!shown.has(id)) shown.set(id, newRow(id, row));
      const entry = shown.get(id);
      entry.row = row;
      columns.forEach((column, index) => {
        const value = column.value(row);
        if (entry.values[index] === value && entry.values.length > index) return;
        entry.values[index] = value;
        entry.cells[index].replaceChildren(column.cell ? column.cell(row) : text(value));
      });
      if (entry.tr === before) before = before.nextSibling;
      else body.insertBefore(entry.tr, before);
      const panel = opened.get(id);
      if (panel) {
        if (panel === before) before = before.nextSibling;
        else body.insertBefore(panel, before);
      }
    }
    for (const [id, entry] of shown) {
      if (ids.has(id)) continue;
      // The focus of the keyboard goes to the table, not to the top of the page.
      if (entry.tr.contains(document.activeElement) || opened.get(id)?.contains(document.activeElement)) element.focus();
      close(id);
      entry.tr.remove();
      shown.delete(id);
    }
    none.hidden = rows.length > 0;
  }

  update([]);
  return { element, update };
}

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value ?? "–")]));
}

// Text that may be longer than its box, which the keyboard scrolls.
export function long(label, content = "") {
  return h("pre", { tabindex: 0, role: "group", "aria-label": label }, content);
}

export function field(label, control, inline = false) {
  return inline ? h("label", { class: "inline" }, control, label) : h("label", {}, label, control);
}

export function options(pairs, chosen) {
  return pairs.map(([value, title]) => h("option", { value, selected: value === chosen }, title));
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one ?? "").localeCompare(String(other ?? ""), undefined, { numeric: true });
}

export function text(value) {
  return value === null || value === undefined ? "–" : typeof value === "number" ? number(value) : String(value);
}

export const number = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));

// "1 record", "2 records".
export const counted = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  let unit = 0;
  while (count >= 1024 && unit < 4) {
    count /= 1024;
    unit += 1;
  }
  return `${unit && count < 100 ? count.toFixed(1) : Math.round(count)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

export const rate = (value) => (value === null ? "–" : value >= 10 || value === 0 ? number(Math.round(value)) : value.toFixed(1));

export function moment(ms) {
  if (ms === null || ms === undefined || ms < 0) return "–";
  const date = new Date(ms);
  // A producer may send any number.
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString().replace("T", " ").replace("Z", "");
}

// Rates of counters: the difference to the last sample of the same name, by the second.
export class Rates {
  #last = new Map();

  of(name, value, atMs) {
    const last = this.#last.get(name);
    if (last && last.atMs === atMs) return last.rate;
    // A counter that went back was reset.
    const found = last && value >= last.value && atMs > last.atMs ? ((value - last.value) * 1000) / (atMs - last.atMs) : null;
    this.#last.set(name, { value, atMs, rate: found });
    return found;
  }
}
