import { all, get, remove, set } from "#host/trailers";
import { told } from "./errors.js";
import { decode } from "./text.js";

export const trailers = /* @__PURE__ */ Object.freeze({
  get: (name) => get(name) ?? null,
  entries: () => all().map(([name, value]) => [name, decode(value)]),
  set: (name, value) => told(`trailers.set("${name}")`, () => set(name, String(value))),
  delete: (name) => told(`trailers.delete("${name}")`, () => remove(name)),
});
