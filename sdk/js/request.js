import * as message from "#host/request";
import { told } from "./errors.js";
import { fields } from "./fields.js";
import { bytesOf } from "./text.js";

export { method, scheme, host, path } from "#host/request";
export const headers = /* @__PURE__ */ fields("request", message);
export const query = () => message.query() ?? null;
export const setPath = (path) => told(`request.setPath("${path}")`, () => message.setPath(path));
export const setQuery = (query) => told(`request.setQuery("${query}")`, () => message.setQuery(query));
export const setBody = (body) => told("request.setBody", () => message.setBody(bytesOf(body)));

/** The cookie of that name. */
export function cookie(name) {
  for (const pair of (message.header("cookie") ?? "").split(";")) {
    const at = pair.indexOf("=");
    if (at > 0 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim();
  }
  return null;
}
