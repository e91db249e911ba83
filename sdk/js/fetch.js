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
  #id;
  #over = false;

  constructor(url, { status, id }) {
    this.#url = url;
    this.#id = id;
    this.status = status;
    this.ok = status >= 200 && status < 300;
    this.headers = {
      get: (name) => host.header(id, String(name)) ?? null,
      has: (name) => host.header(id, String(name)) != null,
      entries: () => host.headers(id),
      [Symbol.iterator]: () => host.headers(id)[Symbol.iterator](),
    };
  }

  read(max = 1 << 16) {
    // The host knows of no body that is over.
    if (this.#over) return new Uint8Array();
    const part = told(`the body of fetch("${this.#url}")`, () => host.read(this.#id, whole("read(..): the size", max)));
    this.#over = part.length === 0;
    return part;
  }

  bytes(max = 1 << 20) {
    return told(`the body of fetch("${this.#url}")`, () => host.readAll(this.#id, max));
  }

  text(max) {
    return decode(this.bytes(max));
  }

  json(max) {
    return JSON.parse(this.text(max));
  }

  close() {
    host.close(this.#id);
  }
}
