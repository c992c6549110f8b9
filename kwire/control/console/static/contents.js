// How keys and values are shown: as text, indented JSON, bytes, or decoded by their schemas.

import { number } from "./dom.js";

const HEX_BYTES = 4096;
const PREVIEW = 300;
const KINDS = { AVRO: "Avro", PROTOBUF: "Protobuf", JSON: "JSON Schema" };

// Bytes that are not UTF-8 come as {"base64": ...}.
function toBytes(content) {
  if (typeof content === "string") return new TextEncoder().encode(content);
  return Uint8Array.from(atob(content.base64), (letter) => letter.charCodeAt(0));
}

export function preview(content) {
  if (content === null) return "null";
  if (typeof content === "string") return content.length > PREVIEW ? `${content.slice(0, PREVIEW)}…` : content;
  return bytesPreview(content);
}

// `part` is "key" or "value".
export function partPreview(record, part) {
  const decoded = record.decoded?.[part];
  return decoded?.error ? bytesPreview(record[part]) : preview(decoded?.text ?? record[part]);
}

function bytesPreview(content) {
  const all = toBytes(content);
  return `${number(all.length)} bytes: ${hex(all.slice(0, 16))}`;
}

// The forms that a record can be shown in, the best first.
export function forms(record) {
  const parts = Object.values(record.decoded ?? {});
  const [text, json, bytes] = [["text", "text"], ["json", "JSON"], ["hex", "bytes"]];
  if (parts.some((part) => part.text !== undefined)) return [["decoded", "decoded"], text, json, bytes];
  if (parts.length) return [bytes, text, json];
  return isJson(record.value) ? [json, text, bytes] : [text, json, bytes];
}

export function shownAs(record, part, form) {
  const content = record[part];
  if (content === null) return "null";
  const decoded = form === "decoded" ? record.decoded?.[part]?.text : undefined;
  if (decoded !== undefined) return indented(decoded);
  if (form === "hex") return dump(toBytes(content));
  if (typeof content !== "string") return new TextDecoder().decode(toBytes(content));
  return form !== "text" && isJson(content) ? indented(content) : content;
}

// Which schema a key or value was written with, or why it is not decoded; null where it names none.
export function schemaOf(record, part) {
  const decoded = record.decoded?.[part];
  if (!decoded) return null;
  return decoded.error ?? `${decoded.schema}: ${KINDS[decoded.type]} ${decoded.name}`;
}

function isJson(content) {
  if (typeof content !== "string" || !/^\s*[[{]/.test(content)) return false;
  try {
    JSON.parse(content);
    return true;
  } catch {
    return false;
  }
}

// Indents JSON without reading its numbers: those of JavaScript have 53 bits.
function indented(text) {
  let depth = 0;
  let opened = false;
  let shown = "";
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g)) {
    const closes = token === "}" || token === "]";
    if (closes) depth -= 1;
    if (closes ? !opened : opened) shown += line();
    opened = token === "{" || token === "[";
    if (opened) depth += 1;
    shown += token === ":" ? ": " : token === "," ? `,${line()}` : token;
  }
  return shown;
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
