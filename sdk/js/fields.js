// Fields of a message, in the manner of the web's Headers.
import { refused } from "./errors.js";
import { decode } from "./text.js";

/** Makes `get`, `has`, `set`, ... of what the host offers for one kind of message. */
export function fields(what, host) {
  // Once: to look into a module costs as much as half a call of the host, and so does `String` of what is a text already.
  const { header, headerBytes, headers, setHeader, appendHeader, removeHeader } = host;
  return {
    get: (name) => header(name) ?? null,
    getAll: (name) => headerBytes(name).map(decode),
    has: (name) => header(name) != null,
    // Without `told`: a closure and a text for each call would cost more than the call.
    set(name, value) {
      try {
        setHeader(name, value + "");
      } catch (error) {
        throw refused(`${what}.headers.set("${name}")`, error);
      }
    },
    append(name, value) {
      try {
        appendHeader(name, value + "");
      } catch (error) {
        throw refused(`${what}.headers.append("${name}")`, error);
      }
    },
    delete(name) {
      try {
        removeHeader(name);
      } catch (error) {
        throw refused(`${what}.headers.delete("${name}")`, error);
      }
    },
    entries: () => headers().map(([name, value]) => [name, decode(value)]),
    [Symbol.iterator]() {
      return this.entries()[Symbol.iterator]();
    },
  };
}
