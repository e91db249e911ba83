import * as host from "#host/log";

export { enabled } from "#host/log";
export const error = (message) => host.log("error", String(message));
export const warn = (message) => host.log("warn", String(message));
export const info = (message) => host.log("info", String(message));
export const debug = (message) => host.log("debug", String(message));
