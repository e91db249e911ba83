// Fields of a message, in the manner of the web's Headers.
import { told } from "./errors.js";
import { decode } from "./text.js";

/** Makes `get`, `has`, `set`, ... of what the host offers for one kind of message. */
export function fields(what, host) {
  return {
    get: (name) => host.header(name) ?? null,
    getAll: (name) => host.headerBytes(name).map(decode),
    has: (name) => host.header(name) != null,
    set: (name, value) => told(`${what}.headers.set("${name}")`, () => host.setHeader(name, String(value))),
    append: (name, value) => told(`${what}.headers.append("${name}")`, () => host.appendHeader(name, String(value))),
    delete: (name) => told(`${what}.headers.delete("${name}")`, () => host.removeHeader(name)),
    entries: () => host.headers().map(([name, value]) => [name, decode(value)]),
    [Symbol.iterator]() {
      return this.entries()[Symbol.iterator]();
    },
  };
}
