// Fields of a message, in the manner of the web's Headers.
import { wrong } from "./checks.js";
import { refused } from "./errors.js";
import { decode } from "./text.js";

/** Makes `get`, `has`, `set`, ... of what the host offers for one kind of message. */
export function fields(what, host) {
  // Once: to look into a module costs as much as half a call of the host, and so does `String` of what is a text already.
  const { header, headerBytes, headers, setHeader, appendHeader, removeHeader } = host;
  const no = (name) => wrong(`${what}.headers: the name`, "a text", name);
  // Without `told`: a closure and a text for each call would cost more than the call.
  const edit = (method, call) => (name, value) => {
    try {
      call(typeof name === "string" ? name : no(name), value + "");
    } catch (error) {
      throw refused(`${what}.headers.${method}("${name}")`, error);
    }
  };
  // Frozen, so that `headers.etag = ..` is refused instead of doing nothing.
  return Object.freeze({
    get: (name) => header(typeof name === "string" ? name : no(name)) ?? null,
    getAll: (name) => headerBytes(typeof name === "string" ? name : no(name)).map(decode),
    has: (name) => header(typeof name === "string" ? name : no(name)) != null,
    set: edit("set", setHeader),
    append: edit("append", appendHeader),
    delete: edit("delete", (name) => removeHeader(name)),
    entries: () => headers().map(([name, value]) => [name, decode(value)]),
    [Symbol.iterator]() {
      return this.entries()[Symbol.iterator]();
    },
  });
}
