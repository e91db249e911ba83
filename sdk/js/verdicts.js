import { whole } from "./checks.js";
import { bytesOf } from "./text.js";

/** An answer instead of the backend's. */
export function answer(status, body = "", headers = {}) {
  whole("answer(..): the status", status);
  const fields = Array.isArray(headers) ? headers.slice() : Object.entries(headers);
  if (typeof body === "string" && body !== "" && !fields.some(([name]) => String(name).toLowerCase() === "content-type")) {
    fields.push(["content-type", "text/plain; charset=utf-8"]);
  }
  return { tag: "answer", val: { status, headers: fields.map(([name, value]) => [String(name), String(value)]), body: bytesOf(body, "answer(..): the body") } };
}

/** Waits for the whole body of the request, of so many bytes at most, and has `onRequestComplete` called with it. */
export const hold = (bytes) => ({ tag: "hold", val: whole("hold(..): the bytes", bytes) });

/** Puts something else in the place of a chunk. */
export const replace = (chunk) => ({ tag: "replace", val: bytesOf(chunk, "replace(..): the chunk") });

/** Has the next attempt go to the backend of that index. */
export const pick = (index) => ({ tag: "pick", val: whole("pick(..): the index", index) });

/** Makes no other attempt. */
export const giveUp = () => ({ tag: "give-up" });

/** Closes the connection. */
export const refuse = () => "refuse";

/** Ends the exchange. */
export const abort = () => ({ tag: "abort" });
