import { enabled as wanted, log as write } from "#host/log";
import { wrong } from "./checks.js";

const levels = ["error", "warn", "info", "debug"];
const enabled = (level) => wanted(levels.includes(level) ? level : wrong("log.enabled(..): the level", levels.join(", "), level));

export const log = /* @__PURE__ */ Object.freeze({
  enabled,
  error: (message) => write("error", String(message)),
  warn: (message) => write("warn", String(message)),
  info: (message) => write("info", String(message)),
  debug: (message) => write("debug", String(message)),
});
