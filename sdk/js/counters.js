import * as host from "#host/counters";
import { text, whole } from "./checks.js";

export const counters = /* @__PURE__ */ Object.freeze({
  add: (name, delta) => host.add(text("counters.add(..): the name", name), whole("counters.add(..): what is added", delta)),
  get: (name) => host.get(text("counters.get(..): the name", name)),
  set: (name, value) => host.set(text("counters.set(..): the name", name), whole("counters.set(..): the value", value)),
});
