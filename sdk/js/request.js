import * as host from "#host/request";
import { header, query } from "#host/request";
import { text } from "./checks.js";
import { told } from "./errors.js";
import { fields } from "./fields.js";
import { bytesOf } from "./text.js";

export const request = /* @__PURE__ */ Object.freeze({
  method: host.method,
  scheme: host.scheme,
  host: host.host,
  path: host.path,
  headers: /* @__PURE__ */ fields("request", host),
  query: () => query() ?? null,
  setPath: (path) => told(`request.setPath("${path}")`, () => host.setPath(text("the path", path))),
  setQuery: (query) => told(`request.setQuery("${query}")`, () => host.setQuery(query == null ? null : text("the query", query))),
  setBody: (body) => told("request.setBody", () => host.setBody(bytesOf(body))),
  cookie,
});

/** The cookie of that name. */
function cookie(name) {
  for (const pair of (header("cookie") ?? "").split(";")) {
    const at = pair.indexOf("=");
    if (at > 0 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim();
  }
  return null;
}
