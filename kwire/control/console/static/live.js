// A button that follows a stream of the API as long as it is pressed.

import { follow } from "./api.js";
import { h } from "./dom.js";

const SHOWN_EVERY_MS = 200;

// `where()` gives the address of the stream, `begin()` is called before it, `take(value, kind)` with each event, `show()`
// now and then after some.
export function live(page, { where, begin = () => {}, take, show }) {
  const button = h("button", { type: "button", "aria-pressed": "false" }, "Follow live");
  let running = null;
  page.signal.addEventListener("abort", () => running?.abort());

  async function start() {
    const started = (running = new AbortController());
    button.setAttribute("aria-pressed", "true");
    begin();
    let due = null;
    try {
      await follow(where(), (value, kind) => {
        take(value, kind);
        due ??= setTimeout(() => {
          due = null;
          show();
        }, SHOWN_EVERY_MS);
      }, started.signal);
    } catch (error) {
      page.fail(error);
    }
    if (running === started) stop();
  }

  function stop() {
    running?.abort();
    running = null;
    button.setAttribute("aria-pressed", "false");
  }

  button.addEventListener("click", () => (running ? stop() : start()));
  return { button, stop, running: () => running !== null };
}
