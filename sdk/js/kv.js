import * as host from "#host/kv";
import { text, whole, wrong } from "./checks.js";
import { told } from "./errors.js";
import { bytesOf, decode } from "./text.js";

const ttl = (options) => (options?.ttl == null ? null : whole("kv: ttl", options.ttl));
const known = (key) => text("kv: the key", key);
const integer = (value) => (Number.isSafeInteger(value) ? value : wrong("kv.increment(..): what is added", "a whole number", value));
const getBytes = (key) => told(`kv.get("${key}")`, () => host.get(known(key))) ?? null;

export const kv = /* @__PURE__ */ Object.freeze({
  getBytes,
  get(key) {
    const value = getBytes(key);
    return value === null ? null : decode(value);
  },
  set: (key, value, options) => told(`kv.set("${key}")`, () => host.set(known(key), bytesOf(value), ttl(options))),
  delete: (key) => told(`kv.delete("${key}")`, () => host.delete(known(key))),
  compareAndSet: (key, expected, value, options) =>
    told(`kv.compareAndSet("${key}")`, () =>
      host.compareAndSet(known(key), expected == null ? null : bytesOf(expected), bytesOf(value), ttl(options))),
  increment: (key, by = 1, options) => told(`kv.increment("${key}")`, () => host.increment(known(key), integer(by), ttl(options))),
});
