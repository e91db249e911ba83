export { add, get, set } from "#host/counters";
