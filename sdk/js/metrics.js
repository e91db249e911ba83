import * as host from "#host/metrics";
import { add, observe, set } from "#host/metrics";

const labels = (of) => Object.entries(of ?? {});

export const metrics = /* @__PURE__ */ Object.freeze({
  counter(name, of) {
    const series = host.counter(name, labels(of));
    return { add: (by = 1) => add(series, by) };
  },
  gauge(name, of) {
    const series = host.gauge(name, labels(of));
    return { set: (value) => set(series, value) };
  },
  histogram(name, bounds, of) {
    const series = host.histogram(name, labels(of), bounds);
    return { observe: (value) => observe(series, value) };
  },
});
