// The frame of the page: views by the part of the address behind #, the theme, and what is announced.

import { get } from "./api.js";
import { h, moment } from "./dom.js";
import * as access from "./access.js";
import * as configs from "./configs.js";
import * as connections from "./connections.js";
import * as faults from "./faults.js";
import * as groups from "./groups.js";
import * as messages from "./messages.js";
import * as requests from "./requests.js";
import * as topics from "./topics.js";
import * as transactions from "./transactions.js";

const views = { topics, messages, groups, transactions, connections, configs, access, requests, faults };
const main = document.getElementById("main");
let current = null;

for (const [name, view] of Object.entries(views)) {
  document.getElementById("views").append(h("li", {}, h("a", { href: `#/${name}`, id: `view-${name}` }, view.title)));
}

// What a view gets: `every` calls a function now and again and again until another view is shown.
function frame(signal) {
  return {
    signal,
    announce: (sentence) => say("status", sentence),
    fail: (error) => {
      if (error.name !== "AbortError") say("alert", error.message);
    },
    every(ms, refresh) {
      const again = async () => {
        if (signal.aborted) return;
        if (!document.hidden) {
          try {
            await refresh();
            say("alert", "");
          } catch (error) {
            if (!signal.aborted) say("alert", `Cannot refresh: ${error.message}`);
          }
        }
        if (!signal.aborted) setTimeout(again, ms);
      };
      return again();
    },
    // Runs what a button or a form does, and says what became of it.
    async act(sentence, action) {
      try {
        await action();
        say("alert", "");
        if (sentence) say("status", sentence);
      } catch (error) {
        say("alert", error.message);
      }
    },
  };
}

let clearing = null;

function say(where, sentence) {
  const element = document.getElementById(where);
  if (element.textContent !== sentence) element.textContent = sentence;
  if (where === "status") {
    clearTimeout(clearing);
    clearing = setTimeout(() => (element.textContent = ""), 6000);
  }
}

async function show(moveFocus) {
  current?.abort();
  current = new AbortController();
  const [where, search] = location.hash.slice(1).split("?");
  const [name, ...rest] = where.split("/").slice(1).map(decodeURIComponent);
  const known = Object.hasOwn(views, name) ? name : "topics";
  for (const each of Object.keys(views)) {
    const link = document.getElementById(`view-${each}`);
    if (each === known) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const heading = h("h1", { tabindex: -1 }, views[known].title);
  main.replaceChildren(heading);
  document.title = `${views[known].title} – kwire console`;
  if (moveFocus) heading.focus();
  say("alert", "");
  const page = frame(current.signal);
  const setTitle = (title) => {
    heading.textContent = title;
    document.title = `${title} – kwire console`;
  };
  try {
    await views[known].mount(main, { rest, search: new URLSearchParams(search), setTitle, ...page });
  } catch (error) {
    page.fail(error);
  }
}

async function showBroker() {
  const broker = await get("/v1/broker");
  const clock = broker.rate === 1 ? "" : broker.rate === 0 ? ", clock stopped" : `, clock × ${broker.rate}`;
  document.getElementById("broker").textContent =
    `${broker.listeners.join(", ")} · Kafka ${broker.kafka} · kwire ${broker.version} · ${moment(broker.now_ms).slice(0, 19)} UTC${clock}`;
}

const theme = document.getElementById("theme");

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  theme.textContent = name === "dark" ? "Light" : "Dark";
  theme.setAttribute("aria-label", `Switch to ${name === "dark" ? "light" : "dark"} colours`);
}

theme.addEventListener("click", () => {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("kwire-theme", name);
  setTheme(name);
});
setTheme(localStorage.getItem("kwire-theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));

addEventListener("hashchange", () => {
  // The link that leads to the content is not a view.
  if (location.hash !== "#main") show(true);
});
show(false);
frame(new AbortController().signal).every(2000, showBroker);
