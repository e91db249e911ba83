import * as host from "#host/kv";
import { told } from "./errors.js";
import { bytesOf, decode } from "./text.js";

const ttl = (options) => options?.ttl ?? null;
const getBytes = (key) => told(`kv.get("${key}")`, () => host.get(key)) ?? null;

export const kv = /* @__PURE__ */ Object.freeze({
  getBytes,
  get(key) {
    const value = getBytes(key);
    return value === null ? null : decode(value);
  },
  set: (key, value, options) => told(`kv.set("${key}")`, () => host.set(key, bytesOf(value), ttl(options))),
  delete: (key) => told(`kv.delete("${key}")`, () => host.delete(key)),
  compareAndSet: (key, expected, value, options) =>
    told(`kv.compareAndSet("${key}")`, () =>
      host.compareAndSet(key, expected == null ? null : bytesOf(expected), bytesOf(value), ttl(options))),
  increment: (key, by = 1, options) => told(`kv.increment("${key}")`, () => host.increment(key, by, ttl(options))),
});
