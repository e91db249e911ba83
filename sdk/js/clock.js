import { monotonic, now } from "#host/clock";

export const clock = /* @__PURE__ */ Object.freeze({
  nanos: now,
  monotonic,
  /** Milliseconds since 1970, as Date.now() gives them elsewhere. */
  now: () => Math.floor(now() / 1e6),
});
