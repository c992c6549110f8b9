// Groups of every kind, with members, offsets and lag; the lag over the time that this page has been open.

import { get, path, send } from "./api.js";
import { chart } from "./chart.js";
import { h, number, table } from "./dom.js";

export const title = "Groups";

const SAMPLES = 600;
const EVERY_MS = 2000;
const history = new Map();
let sampling = false;

// Goes on while another view is shown, so that a lag has no gaps.
function sample() {
  if (sampling) return;
  sampling = true;
  const again = async () => {
    try {
      note(await get("/v1/groups?details=true"));
    } catch {
      // The view that is shown says why.
    }
    setTimeout(again, EVERY_MS);
  };
  setTimeout(again, EVERY_MS);
}

function note(groups) {
  const at = Date.now();
  for (const group of groups) {
    const samples = history.get(group.group) ?? [];
    if (samples.length && at - samples.at(-1).at < EVERY_MS / 2) continue;
    samples.push({ at, value: group.lag ?? 0 });
    history.set(group.group, samples.slice(-SAMPLES));
  }
}

export async function mount(main, page) {
  sample();
  if (page.rest[0]) return one(main, page, page.rest[0]);
  const list = table({
    caption: "Lag is the sum over all partitions with a committed offset.",
    key: (row) => row.group,
    empty: "There are no groups.",
    columns: [
      { title: "Group", value: (row) => row.group, cell: (row) => h("a", { href: `#/groups/${encodeURIComponent(row.group)}` }, row.group) },
      { title: "Kind", value: (row) => row.kind },
      { title: "State", value: (row) => row.state },
      { title: "Members", value: (row) => row.members.length, number: true },
      { title: "Lag", value: (row) => row.lag, number: true },
    ],
  });
  main.append(list.element);
  await page.every(EVERY_MS, async () => {
    const groups = await get("/v1/groups?details=true", page.signal);
    note(groups);
    list.update(groups);
  });
}

async function one(main, page, name) {
  page.setTitle(`Group ${name}`);
  const about = h("p");
  const lag = chart("Lag in records");
  const members = table({
    caption: "Members",
    key: (row) => row.member_id,
    empty: "It has no members.",
    columns: [
      { title: "Client id", value: (row) => row.client_id },
      { title: "Member id", value: (row) => row.member_id },
      { title: "Instance id", value: (row) => row.instance_id },
      { title: "Host", value: (row) => row.host },
      { title: "Assignment", value: (row) => Object.entries(row.assignment).map(([topic, found]) => `${topic}: ${found.join(", ")}`).join("; ") },
      {
        title: "", value: () => "",
        cell: (row) => h("button", { type: "button", "aria-label": `Remove ${row.member_id}`, onclick: () => happen(page, { event: "member_fenced", group: name, member_id: row.member_id }, "The member was removed.") }, "Remove"),
      },
    ],
  });
  const offsets = table({
    caption: "Offsets",
    key: (row) => `${row.topic} ${row.partition}`,
    empty: "It has committed no offsets.",
    columns: [
      { title: "Topic", value: (row) => row.topic, cell: (row) => h("a", { href: `#/topics/${encodeURIComponent(row.topic)}` }, row.topic) },
      { title: "Partition", value: (row) => row.partition, number: true },
      { title: "Offset", value: (row) => row.offset, number: true },
      { title: "End of the log", value: (row) => row.end, number: true },
      { title: "Lag", value: (row) => row.lag, number: true },
    ],
  });
  const locks = table({
    caption: "Records that members have acquired",
    key: (row) => `${row.topic} ${row.partition} ${row.first_offset}`,
    empty: "No member has acquired records.",
    columns: [
      { title: "Topic", value: (row) => row.topic },
      { title: "Partition", value: (row) => row.partition, number: true },
      { title: "First offset", value: (row) => row.first_offset, number: true },
      { title: "Last offset", value: (row) => row.last_offset, number: true },
      { title: "Member", value: (row) => row.member_id },
      { title: "Deliveries", value: (row) => row.deliveries, number: true },
      { title: "Lock ends in ms", value: (row) => row.ends_in_ms, number: true },
    ],
  });
  const locked = h("section", { hidden: true }, h("h2", {}, "Acquisition locks"), locks.element);
  main.append(about, h("p", {},
    h("button", { type: "button", onclick: () => happen(page, { event: "rebalance", group: name }, "A rebalance was started.") }, "Rebalance"), " ",
    h("button", { type: "button", onclick: () => happen(page, { event: "coordinator_moved", group: name }, "The coordinator was moved.") }, "Move the coordinator")),
  h("h2", {}, "Lag over time"), lag.element, h("h2", {}, "Members"), members.element, h("h2", {}, "Offsets"), offsets.element, locked);
  await page.every(EVERY_MS, async () => {
    const groups = await get("/v1/groups?details=true", page.signal);
    note(groups);
    const group = groups.find((each) => each.group === name);
    if (!group) throw new Error(`there is no group ${name}`);
    about.textContent = `A ${group.kind} group in state ${group.state}; members: ${number(group.members.length)}, lag: ${number(group.lag ?? 0)}.`;
    members.update(group.members);
    offsets.update(group.offsets);
    lag.update(history.get(name) ?? []);
    locked.hidden = group.kind !== "share";
    if (!locked.hidden) locks.update(await get(path("groups", name, "locks"), page.signal));
  });
}

const happen = (page, event, sentence) => page.act(sentence, () => send("POST", "/v1/events", event));
