// For plugins of Lockgate, written in JavaScript or TypeScript: index.d.ts says what each thing means.

export { request } from "./request.js";
export { response } from "./response.js";
export { trailers } from "./trailers.js";
export { exchange } from "./exchange.js";
export { backends } from "./backends.js";
export { log } from "./log.js";
export { clock } from "./clock.js";
export { random } from "./random.js";
export { counters } from "./counters.js";
export { metrics } from "./metrics.js";
export { kv } from "./kv.js";
export { fetch } from "./fetch.js";
export { HostError } from "./errors.js";
export { answer, hold, replace, abort, pick, giveUp, refuse } from "./verdicts.js";
export { encode, decode } from "./text.js";
