import * as host from "#host/clock";

export { now as nanos, monotonic } from "#host/clock";
/** Milliseconds since 1970, as Date.now() gives them elsewhere. */
export const now = () => Math.floor(host.now() / 1e6);
