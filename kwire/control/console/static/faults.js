// Fault rules and the clock, as switches; and a form for any other rule.

import { get, path, send } from "./api.js";
import { field, h, moment, options, table } from "./dom.js";

export const title = "Faults and clock";

// Each switch arms one rule, under a name that says where it came from.
const SWITCHES = [
  ["console-moved", "Leaders have moved: Produce and Fetch are refused", { api: ["Produce", "Fetch"], error: "NOT_LEADER_OR_FOLLOWER" }],
  ["console-loading", "Coordinators load", { api: ["JoinGroup", "SyncGroup", "Heartbeat", "OffsetFetch", "ConsumerGroupHeartbeat", "ShareGroupHeartbeat"], error: "COORDINATOR_LOAD_IN_PROGRESS" }],
  ["console-slow", "Each request waits 500 ms", { delay_ms: 500 }],
  ["console-lost", "Answers to Produce are lost", { api: "Produce", drop: true, done: true }],
  ["console-closed", "Connections close at Fetch", { api: "Fetch", close: true }],
  ["console-held", "Produce waits until this is switched off", { api: "Produce", hold: true }],
  ["console-corrupt", "Fetched batches are corrupt", { api: "Fetch", corrupt_records: true }],
  ["console-throttled", "Clients are throttled for 1 s", { api: ["Produce", "Fetch"], throttle_ms: 1000 }],
  ["console-full", "The disk is full", { disk_full: true }],
  ["console-fsync", "An fsync takes 1 s longer", { fsync_ms: 1000 }],
];
const EFFECTS = ["error", "delay_ms", "hold", "drop", "close", "reset", "throttle_ms", "truncate", "garbage", "corrupt_records", "stale", "disk_full", "io_error", "fsync_error", "fsync_ms"];
const WITH_VALUE = ["error", "delay_ms", "throttle_ms", "truncate", "io_error", "fsync_ms"];
const TEXTS = ["error", "io_error"];
const SCOPE = [["api", "API"], ["topic", "Topic"], ["group", "Group"], ["client_id", "Client id"], ["principal", "Principal"]];

export async function mount(main, page) {
  const clock = clockSwitches(page);
  const switches = new Map(SWITCHES.map(([name, label, rule]) => [name, ruleSwitch(page, name, label, rule, refresh)]));
  const list = table({
    caption: "Rules that are armed",
    key: (row) => row.name,
    empty: "No rule is armed.",
    columns: [
      { title: "Rule", value: (row) => row.name },
      { title: "Matched", value: (row) => row.matched, number: true },
      { title: "Disturbed", value: (row) => row.fired, number: true },
      { title: "What it does", value: (row) => JSON.stringify(row.rule), preview: true },
      {
        title: "", value: (row) => `${row.released}`,
        cell: (row) => h("span", {},
          row.rule.hold && !row.released ? h("button", { type: "button", "aria-label": `Release the requests of ${row.name}`, onclick: () => change(page, refresh, "Held requests continue.", "POST", row.name, "release") }, "Release") : null, " ",
          h("button", { type: "button", "aria-label": `Disarm ${row.name}`, onclick: () => change(page, refresh, "Rule disarmed.", "DELETE", row.name) }, "Disarm")),
      },
    ],
  });

  async function refresh() {
    const rules = await get("/v1/faults", page.signal);
    list.update(rules);
    for (const [name, button] of switches) button.setAttribute("aria-checked", String(rules.some((each) => each.name === name)));
    await clock.refresh();
  }

  main.append(h("h2", {}, "Clock"), clock.element,
    h("h2", {}, "Switches"), h("ul", { class: "switches" }, [...switches.values()].map((button) => h("li", {}, button))),
    h("h2", {}, "Rules"), list.element, h("h2", {}, "Another rule"), anotherRule(page, refresh));
  await page.every(1000, refresh);
}

function ruleSwitch(page, name, label, rule, refresh) {
  const button = h("button", { type: "button", role: "switch", "aria-checked": "false" }, label);
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-checked") === "true";
    page.act(on ? "Switched off." : "Switched on.", async () => {
      if (on) await send("DELETE", path("faults", name));
      else await send("POST", "/v1/faults", { name, ...rule });
      await refresh();
    });
  });
  return button;
}

const change = (page, refresh, sentence, method, ...where) => page.act(sentence, async () => {
  await send(method, path("faults", ...where));
  await refresh();
});

function anotherRule(page, refresh) {
  const scope = Object.fromEntries(SCOPE.map(([name]) => [name, h("input", { size: 14, autocomplete: "off" })]));
  const effect = h("select", {}, options(EFFECTS.map((each) => [each, each]), "error"));
  const value = h("input", { value: "NOT_LEADER_OR_FOLLOWER", size: 28, autocomplete: "off" });
  const times = h("input", { type: "number", min: 1, size: 5 });
  const done = h("input", { type: "checkbox" });
  const valueField = field("Value", value);
  effect.addEventListener("change", () => (valueField.hidden = !WITH_VALUE.includes(effect.value)));
  const arm = (event) => {
    event.preventDefault();
    const rule = Object.fromEntries(Object.entries(scope).filter(([, input]) => input.value).map(([name, input]) => [name, input.value]));
    rule[effect.value] = !WITH_VALUE.includes(effect.value) ? true : TEXTS.includes(effect.value) ? value.value : Number(value.value);
    if (times.value) rule.times = Number(times.value);
    if (done.checked) rule.done = true;
    page.act("Rule armed.", async () => {
      await send("POST", "/v1/faults", rule);
      await refresh();
    });
  };
  return h("form", { class: "row", "aria-label": "Another rule", onsubmit: arm },
    SCOPE.map(([name, label]) => field(label, scope[name])), field("Effect", effect), valueField, field("Times (empty: always)", times),
    field("After the request took effect", done, true), h("button", { type: "submit" }, "Arm"));
}

function clockSwitches(page) {
  const now = h("p");
  const frozen = h("button", { type: "button", role: "switch", "aria-checked": "false" }, "The clock stands still");
  const rate = h("input", { type: "number", min: 0, step: "any", value: 1, size: 6 });
  const move = (sentence, body) => page.act(sentence, async () => {
    await send("POST", "/v1/clock", body);
    await refresh();
  });
  frozen.addEventListener("click", () => move("The clock was set.", { rate: frozen.getAttribute("aria-checked") === "true" ? 1 : 0 }));
  const steps = [["1 s", 1e3], ["1 min", 6e4], ["1 h", 36e5], ["1 day", 864e5], ["7 days", 7 * 864e5]];

  async function refresh() {
    const clock = await get("/v1/clock", page.signal);
    now.textContent = `${moment(clock.now_ms)} UTC, running at ${clock.rate} × real time.`;
    frozen.setAttribute("aria-checked", String(clock.rate === 0));
  }

  const setRate = (event) => {
    event.preventDefault();
    move("The clock was set.", { rate: Number(rate.value) });
  };
  return {
    refresh,
    element: h("div", {}, now, h("ul", { class: "switches" }, h("li", {}, frozen)),
      h("form", { class: "row", onsubmit: setRate, "aria-label": "Clock" },
        steps.map(([label, ms]) => h("button", { type: "button", "aria-label": `Advance by ${label}`, onclick: () => move(`The clock was moved by ${label}.`, { advance_ms: ms }) }, `+ ${label}`)),
        field("Rate", rate), h("button", { type: "submit" }, "Set the rate"))),
  };
}
