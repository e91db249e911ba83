import { host } from "../testing.js";

export const get = (name) => host.counters[name] ?? 0;
export function set(name, value) {
  const before = get(name);
  host.counters[name] = value;
  return before;
}
export const add = (name, delta) => set(name, get(name) + delta);
