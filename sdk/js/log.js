import { enabled, log as write } from "#host/log";

export const log = /* @__PURE__ */ Object.freeze({
  enabled,
  error: (message) => write("error", String(message)),
  warn: (message) => write("warn", String(message)),
  info: (message) => write("info", String(message)),
  debug: (message) => write("debug", String(message)),
});
