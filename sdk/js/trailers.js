import { all, get, remove, set } from "#host/trailers";
import { text } from "./checks.js";
import { told } from "./errors.js";
import { decode } from "./text.js";

export const trailers = /* @__PURE__ */ Object.freeze({
  get: (name) => get(text("trailers.get(..): the name", name)) ?? null,
  entries: () => all().map(([name, value]) => [name, decode(value)]),
  set: (name, value) => told(`trailers.set("${name}")`, () => set(text("the name", name), String(value))),
  delete: (name) => told(`trailers.delete("${name}")`, () => remove(text("the name", name))),
});
