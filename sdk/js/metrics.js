import * as host from "#host/metrics";

const labels = (of) => Object.entries(of ?? {});
export function counter(name, of) {
  const series = host.counter(name, labels(of));
  return { add: (by = 1) => host.add(series, by) };
}
export function gauge(name, of) {
  const series = host.gauge(name, labels(of));
  return { set: (value) => host.set(series, value) };
}
export function histogram(name, bounds, of) {
  const series = host.histogram(name, labels(of), bounds);
  return { observe: (value) => host.observe(series, value) };
}
