// Fields of a message, in the manner of the web's Headers.
import { refused } from "./errors.js";
import { decode } from "./text.js";

/** Makes `get`, `has`, `set`, ... of what the host offers for one kind of message. */
export function fields(what, host) {
  return {
    get: (name) => host.header(name) ?? null,
    getAll: (name) => host.headerBytes(name).map(decode),
    has: (name) => host.header(name) != null,
    // Without `told`: a closure and a text for each call would cost more than the call.
    set(name, value) {
      try {
        host.setHeader(name, String(value));
      } catch (error) {
        throw refused(`${what}.headers.set("${name}")`, error);
      }
    },
    append(name, value) {
      try {
        host.appendHeader(name, String(value));
      } catch (error) {
        throw refused(`${what}.headers.append("${name}")`, error);
      }
    },
    delete(name) {
      try {
        host.removeHeader(name);
      } catch (error) {
        throw refused(`${what}.headers.delete("${name}")`, error);
      }
    },
    entries: () => host.headers().map(([name, value]) => [name, decode(value)]),
    [Symbol.iterator]() {
      return this.entries()[Symbol.iterator]();
    },
  };
}
