// The JSON API under /v1. A token, if the broker wants one, is kept for this tab.

const TOKEN = "kwire-token";

export class Refused extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

export const path = (...parts) => "/v1/" + parts.map(encodeURIComponent).join("/");

export const query = (values) => {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? "?" + new URLSearchParams(given) : "";
};

export const get = async (where, signal) => (await request("GET", where, undefined, signal)).json();

// `body` is an object, or JSON as text.
export async function send(method, where, body) {
  const answer = await request(method, where, body);
  return answer.status === 204 ? null : answer.json();
}

// Server-sent events; not EventSource, which cannot send a token.
export async function follow(where, handle, signal) {
  const answer = await request("GET", where, undefined, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (held + value).split("\n\n");
    held = blocks.pop();
    for (const block of blocks) {
      const fields = block.split("\n").map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)]);
      const of = (name) => fields.filter(([key]) => key === name).map(([, found]) => found).join("\n");
      if (of("data")) handle(JSON.parse(of("data")), of("event") || "message");
    }
  }
}

async function request(method, where, body, signal) {
  const headers = { Accept: "application/json" };
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (method !== "GET") headers["Content-Type"] = "application/json";
  const answer = await fetch(where, { method, headers, signal, body: typeof body === "object" ? JSON.stringify(body) : body });
  if (answer.status === 401) {
    await login();
    return request(method, where, body, signal);
  }
  if (answer.ok) return answer;
  const refusal = await answer.json().catch(() => ({}));
  throw new Refused([refusal.error, refusal.message].filter(Boolean).join(": ") || `HTTP status ${answer.status}`, answer.status);
}

let asking = null;

function login() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("login");
    const input = document.getElementById("token");
    input.value = "";
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(TOKEN, input.value);
      input.value = "";
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}
