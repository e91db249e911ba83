/**
 * For plugins of Lockgate, written in JavaScript or TypeScript.
 *
 * A plugin is a module that exports its hooks, each a function of one of these names; nothing else is called:
 *
 * ```js
 * import { answer, request } from "lockgate";
 *
 * export function onRequest() {
 *   if (request.path() === "/coffee") return answer(418, "I am a teapot\n");
 * }
 * ```
 *
 * | export | called | returns |
 * |---|---|---|
 * | `configure(config)` | once for each instance, with the object of `config = { .. }` | nothing; what it throws is shown to the operator |
 * | `onRequest()` | when a request's head is there | `answer(..)`, `hold(..)` or nothing |
 * | `onRequestComplete(body)` | when its whole body is there, if `onRequest` said `hold` | `answer(..)` or nothing |
 * | `onRequestBody(chunk, last)` | for each chunk on its way to the backend | `replace(..)`, `abort()` or nothing |
 * | `pickBackend(count)` | for each attempt, with how many backends there are | an index below `count`, or nothing |
 * | `onAttemptFailed(attempt)` | when a backend has failed | `pick(..)`, `giveUp()` or nothing |
 * | `onConnect(connection)` | for each connection of a listener that names the plugin | `refuse()` or nothing |
 * | `onTick()` | in the background, at an interval | nothing |
 * | `onResponse()` | when a response's head is there | `answer(..)` or nothing |
 * | `onResponseBody(chunk, last)` | for each chunk on its way to the client | `replace(..)`, `abort()` or nothing |
 * | `onResponseFinish(summary)` | when all is over | nothing |
 * | `selfTest()` | before the plugin is put into service | nothing; what it throws keeps it out |
 * | `exportState()`, `importState(bytes)` | when another version takes its place | a text or bytes; nothing |
 *
 * Nothing here is a promise: a call that must wait returns when it has its answer, and nobody else waits meanwhile. What a
 * hook throws ends its exchange as `on_failure` of the configuration says, and is in the log with its stack. There is no
 * `setTimeout`, `Date.now()` stands still (use `clock`), and `Math.random()` repeats itself (use `random`).
 * What each import means in full is in the contract, `lockgate/wit`.
 */

export interface Verdict { readonly tag: "answer" | "hold" }
export interface NextAttempt { readonly tag: "pick" | "give-up" }
export type Admission = "refuse";
export interface BodyAction { readonly tag: "replace" | "abort" }

/** A response that the plugin gives. A text without a `content-type` gets `text/plain`. */
export function answer(status: number, body?: string | Uint8Array, headers?: Record<string, string> | [string, string][]): Verdict;
/** Waits for the whole body of the request, of so many bytes at most. Needs an `onRequestComplete`. */
export function hold(bytes: number): Verdict;
/** Puts something else, or nothing, in the place of a chunk. */
export function replace(chunk: string | Uint8Array): BodyAction;
/** Has the next attempt go to the backend of that index. */
export function pick(index: number): NextAttempt;
/** Makes no other attempt. */
export function giveUp(): NextAttempt;
/** Closes the connection. */
export function refuse(): Admission;
/** Ends the exchange. */
export function abort(): BodyAction;

/** Fields of a message. Names are compared without regard to case. What the host refuses throws a HostError. */
export interface Fields extends Iterable<[string, string]> {
  /** The first field of that name. */
  get(name: string): string | null;
  /** All of that name, in order. */
  getAll(name: string): string[];
  has(name: string): boolean;
  /** Replaces all of that name by one. */
  set(name: string, value: string | number): void;
  append(name: string, value: string | number): void;
  delete(name: string): void;
  /** All fields in order, names in lower case. Ask for single ones where you can. */
  entries(): [string, string][];
}

export namespace request {
  function method(): string;
  /** `http` or `https`, as the client's connection was made. */
  function scheme(): string;
  /** With its port if the client sent one. */
  function host(): string;
  /** Without the query. */
  function path(): string;
  function query(): string | null;
  function cookie(name: string): string | null;
  const headers: Fields;
  function setPath(path: string): void;
  function setQuery(query: string | null): void;
  /** Replaces the whole body. Only in `onRequestComplete`. */
  function setBody(body: string | Uint8Array): void;
}

/** Readable from `onResponse` on. What is set earlier waits for the response. */
export namespace response {
  function status(): number;
  function madeBy(): "backend" | "plugin" | "route" | "host";
  const headers: Fields;
  function setStatus(status: number): void;
}

/** Only in the call for the last chunk of a body. */
export namespace trailers {
  function get(name: string): string | null;
  function entries(): [string, string][];
  function set(name: string, value: string): void;
  function remove(name: string): void;
  export { remove as delete };
}

export namespace exchange {
  /** Never the same for two exchanges of this process. */
  function id(): number;
  function requestId(): string;
  function route(): string;
  function hostIsNamed(): boolean;
  function clientCertificate(): Certificate | null;
  function tenant(): string | null;
  function clientAddress(): string;
  function peerAddress(): string;
  function peerPort(): number;
  function fromTrustedProxy(): boolean;
  function serverName(): string | null;
  /** The address of the backend that answered, or was asked last. */
  function backend(): string | null;
  /** What an earlier plugin, or this one, noted for this exchange. */
  function note(key: string): string | null;
  function setNote(key: string, value: string): void;
}

export interface Backend {
  address: string;
  weight: number;
  inFlight: number;
  latencyNanos: number;
  healthy: boolean;
}

/** Only in `pickBackend`: those that live and have not been tried for this exchange. */
export namespace backends {
  function count(): number;
  function get(index: number): Backend;
  function all(): Backend[];
}

export namespace log {
  function error(message: unknown): void;
  function warn(message: unknown): void;
  function info(message: unknown): void;
  function debug(message: unknown): void;
  function enabled(level: "error" | "warn" | "info" | "debug"): boolean;
}

declare global {
  /** Lines of the log, too: values that are no texts are shown as JSON, errors with their stack. `log` is `info`. */
  interface Console {
    log(...values: any[]): void;
    info(...values: any[]): void;
    warn(...values: any[]): void;
    error(...values: any[]): void;
    debug(...values: any[]): void;
  }
  var console: Console;
}

export namespace clock {
  /** Milliseconds since 1970. */
  function now(): number;
  /** Nanoseconds since 1970, as far as a number holds them. */
  function nanos(): number;
  /** Nanoseconds since some moment; never goes back. */
  function monotonic(): number;
}

export namespace random {
  function bytes(length: number): Uint8Array;
  /** From 0 to 2^64, as far as a number holds it. */
  function number(): number;
}

/** Numbers that all workers share. `add` and `set` return the value before. */
export namespace counters {
  function add(name: string, delta: number): number;
  function get(name: string): number;
  function set(name: string, value: number): number;
}

/** The plugin's own metrics, at `/metrics` as `lockgate_plugin_NAME`. Open a series once, in `configure`. */
export namespace metrics {
  function counter(name: string, labels?: Record<string, string>): { add(by?: number): void };
  function gauge(name: string, labels?: Record<string, string>): { set(value: number): void };
  function histogram(name: string, bounds: number[], labels?: Record<string, string>): { observe(value: number): void };
}

/** Keys and values that outlast exchanges. Needs the grant `kv`. `ttl` is in milliseconds. */
export namespace kv {
  function get(key: string): string | null;
  function getBytes(key: string): Uint8Array | null;
  function set(key: string, value: string | Uint8Array, options?: { ttl?: number }): void;
  function remove(key: string): boolean;
  export { remove as delete };
  /** Stores a value if what is there is `expected` (null: nothing); says whether it did. */
  function compareAndSet(
    key: string, expected: string | Uint8Array | null, value: string | Uint8Array, options?: { ttl?: number },
  ): boolean;
  /** Adds and returns the sum. The time to live counts from the call that made the key. */
  function increment(key: string, by?: number, options?: { ttl?: number }): number;
}

export interface Response {
  readonly status: number;
  readonly ok: boolean;
  readonly headers: Pick<Fields, "get" | "has" | "entries"> & Iterable<[string, string]>;
  /** The next bytes of the body, at least one and at most `max` (64 KiB); none at its end. */
  read(max?: number): Uint8Array;
  /** The rest of the body, if it is at most `max` bytes (1 MiB). Once. */
  bytes(max?: number): Uint8Array;
  text(max?: number): string;
  json<T = any>(max?: number): T;
  /** Gives up the body. */
  close(): void;
}

/** Sends a request and waits for the head of its response. Needs the grant `http`. `timeout` is in milliseconds. */
export function fetch(url: string, options?: {
  method?: string;
  headers?: Record<string, string> | [string, string][];
  body?: string | Uint8Array;
  timeout?: number;
}): Response;

/** Why the host refused something. `code` is the case's name in the contract: `invalid-name`, `not-granted`, .. */
export class HostError extends Error {
  readonly code: string;
}

/** An attempt that has failed, as `onAttemptFailed` is told. */
export interface Attempt {
  number: number;
  backend: string;
  reason: string;
  status: number | null;
  mayRetry: boolean;
}

/** The certificate that a client has shown. */
export interface Certificate {
  subject: string;
  names: string[];
  fingerprint: string;
  serial: string;
  notAfter: number;
}

/** A connection that has just come, its TLS handshake over, as `onConnect` is told. */
export interface Connection {
  clientAddress: string;
  clientPort: number;
  /** The listener's own address. */
  listener: string;
  tls: boolean;
  /** What the client asked for in its TLS handshake. */
  serverName: string | undefined;
  /** What ALPN agreed on: `h2` or `http/1.1`. */
  alpn: string | undefined;
  http2: boolean;
  certificate: Certificate | undefined;
}

/** How an exchange went, as `onResponseFinish` is told. */
export interface Summary {
  method: "get" | "head" | "post" | "put" | "patch" | "delete" | "options" | "trace" | "other";
  /** Stands for the route's name: as long as the process runs, the same number is the same name. */
  route: number;
  status: number;
  requestBytes: number;
  responseBytes: number;
  firstByteNanos: number;
  totalNanos: number;
  attempts: number;
  end: "complete" | "client-gone" | "upstream-truncated" | "timed-out" | "aborted";
}

/** The UTF-8 bytes of a text. */
export function encode(text: string): Uint8Array;
/** Bytes as text; what is not UTF-8 becomes U+FFFD. */
export function decode(bytes: Uint8Array): string;
