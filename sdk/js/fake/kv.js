import { host, refuse } from "../testing.js";

const expiry = (ttl) => (ttl == null ? null : host.monotonic + ttl * 1e6);
const same = (one, other) => one?.length === other?.length && (one ?? []).every((byte, at) => byte === other[at]);

export function get(key) {
  const kept = host.kv.get(key);
  return kept && (kept.expires === null || kept.expires > host.monotonic) ? kept.value : null;
}
export const set = (key, value, ttl) => void host.kv.set(key, { value, expires: expiry(ttl) });
const remove = (key) => host.kv.delete(key);
export { remove as delete };
export function compareAndSet(key, expected, value, ttl) {
  const found = get(key);
  const is = (found === null) === (expected == null) && same(found, expected);
  if (is) set(key, value, ttl);
  return is;
}
export function increment(key, by, ttl) {
  const found = get(key);
  const before = found === null ? 0 : Number(new TextDecoder().decode(found));
  if (!Number.isInteger(before)) refuse("not-a-number");
  const expires = found === null ? expiry(ttl) : host.kv.get(key).expires;
  host.kv.set(key, { value: new TextEncoder().encode(String(before + by)), expires });
  return before + by;
}
