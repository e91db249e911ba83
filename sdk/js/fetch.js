import * as host from "#host/http-client";
import { whole } from "./checks.js";
import { told } from "./errors.js";
import { bytesOf, decode } from "./text.js";

/** Sends a request and waits for the head of its response. Nothing is a promise: the call returns when it is there. */
export function fetch(url, options = {}) {
  const headers = Array.isArray(options.headers) ? options.headers : Object.entries(options.headers ?? {});
  const sent = {
    method: String(options.method ?? "GET"),
    url: String(url),
    headers: headers.map(([name, value]) => [String(name), String(value)]),
    body: bytesOf(options.body ?? ""),
    timeoutMillis: options.timeout == null ? null : whole("fetch(..): the timeout", options.timeout),
  };
  return new Response(url, told(`fetch("${url}")`, () => host.send(sent)));
}

class Response {
  #url;
  #body;

  constructor(url, { status, headers, body }) {
    this.#url = url;
    this.#body = body;
    this.status = status;
    this.ok = status >= 200 && status < 300;
    this.headers = {
      get: (name) => headers.find(([known]) => known === name.toLowerCase())?.[1] ?? null,
      has: (name) => headers.some(([known]) => known === name.toLowerCase()),
      entries: () => headers.slice(),
      [Symbol.iterator]: () => headers[Symbol.iterator](),
    };
  }

  bytes(max = 1 << 20) {
    return told(`the body of fetch("${this.#url}")`, () => host.readAll(this.#body, max));
  }

  text(max) {
    return decode(this.bytes(max));
  }

  json(max) {
    return JSON.parse(this.text(max));
  }

  close() {
    host.close(this.#body);
  }
}
