// One line over time, as SVG; what it shows is said in words too.

import { h, number } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 100;

export function chart(title) {
  const line = document.createElementNS(SVG, "polyline");
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "chart", role: "img" })) {
    svg.setAttribute(name, value);
  }
  svg.append(line);
  const from = h("span");
  const range = h("span");
  const element = h("div", {}, svg, h("p", { class: "legend" }, from, range, h("span", {}, "now")));

  function update(samples) {
    if (!samples.length) return;
    const first = samples[0].at;
    const span = Math.max(1, samples.at(-1).at - first);
    const highest = Math.max(1, ...samples.map((each) => each.value));
    line.setAttribute("points", samples.map(({ at, value }) =>
      `${(((at - first) / span) * WIDTH).toFixed(1)},${(HEIGHT - 4 - (value / highest) * (HEIGHT - 8)).toFixed(1)}`).join(" "));
    const lowest = Math.min(...samples.map((each) => each.value));
    const top = Math.max(...samples.map((each) => each.value));
    from.textContent = `${Math.round(span / 1000)} s ago`;
    range.textContent = `from ${number(lowest)} to ${number(top)}, now ${number(samples.at(-1).value)}`;
    svg.setAttribute("aria-label", `${title}: ${range.textContent}, over ${Math.round(span / 1000)} seconds`);
  }

  return { element, update };
}
