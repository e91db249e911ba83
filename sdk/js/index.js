// For plugins of Lockgate, written in JavaScript or TypeScript: index.d.ts says what each thing means.

export * as request from "./request.js";
export * as response from "./response.js";
export * as trailers from "./trailers.js";
export * as exchange from "./exchange.js";
export * as backends from "./backends.js";
export * as log from "./log.js";
export * as clock from "./clock.js";
export * as random from "./random.js";
export * as counters from "./counters.js";
export * as metrics from "./metrics.js";
export * as kv from "./kv.js";
export { fetch } from "./fetch.js";
export { HostError } from "./errors.js";
export { answer, hold, replace, abort, pick, giveUp, refuse } from "./verdicts.js";
export { encode, decode } from "./text.js";
