import { host } from "../testing.js";

function open(name, labels) {
  const known = host.series.findIndex((one) => one.name === name && JSON.stringify(one.labels) === JSON.stringify(labels));
  return known >= 0 ? known : host.series.push({ name, labels, values: [] }) - 1;
}
const note = (series, value) => void host.series[series].values.push(value);
export { open as counter, open as gauge, open as histogram, note as add, note as set, note as observe };
