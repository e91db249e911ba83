import * as host from "#host/metrics";
import { add, observe, set } from "#host/metrics";
import { number, text, whole, wrong } from "./checks.js";

const labels = (of) => Object.entries(of ?? {}).map(([name, value]) => [name, value + ""]);
const series = (name) => text("metrics: the name", name);
const upper = (bounds) => {
  if (!Array.isArray(bounds)) wrong("metrics.histogram(..): the bounds", "a list of numbers", bounds);
  return bounds.map((bound) => number("metrics.histogram(..): a bound", bound));
};

export const metrics = /* @__PURE__ */ Object.freeze({
  counter(name, of) {
    const it = host.counter(series(name), labels(of));
    return { add: (by = 1) => add(it, whole("add(..): what is added", by)) };
  },
  gauge(name, of) {
    const it = host.gauge(series(name), labels(of));
    return { set: (value) => set(it, number("set(..): the value", value)) };
  },
  histogram(name, bounds, of) {
    const it = host.histogram(series(name), labels(of), upper(bounds));
    return { observe: (value) => observe(it, number("observe(..): the value", value)) };
  },
});
