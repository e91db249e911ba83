/** A host for unit tests on Node. */

export interface Host {
  method: string;
  scheme: string;
  host: string;
  path: string;
  query: string | null;
  requestHeaders: [string, string][];
  /** What was put in the place of the request's body. */
  requestBody: Uint8Array | null;
  responseStatus: number;
  responseOrigin: "backend" | "plugin" | "route" | "host";
  /** What a hook sets is here too. */
  responseHeaders: [string, string][];
  trailers: [string, string][];
  exchangeId: number;
  requestId: string;
  route: string;
  tenant: string | null;
  clientCertificate: import("./index.js").Certificate | null;
  hostIsNamed: boolean;
  clientAddress: string;
  peerAddress: string;
  peerPort: number;
  fromTrustedProxy: boolean;
  serverName: string | null;
  backend: string | null;
  notes: Record<string, string>;
  backends: import("./index.js").Backend[];
  /** What was logged: the level and the line. */
  log: [string, string][];
  /** Nanoseconds. */
  now: number;
  monotonic: number;
  /** The next random number; each is one more than the one before. */
  random: number;
  counters: Record<string, number>;
  series: { name: string; labels: [string, string][]; values: number[] }[];
  /** Values and when they expire, by `monotonic`. */
  kv: Map<string, { value: Uint8Array; expires: number | null }>;
  /** What requests are answered with, in order; further ones are not granted. */
  httpAnswers: { status: number; headers?: [string, string][]; body?: string }[];
  httpRequests: { method: string; url: string; headers: [string, string][]; body: Uint8Array }[];
}

/** What the imports answer, and what they were told. */
export const host: Host;

/** Makes the host a fresh one, with what is given. */
export function reset(given?: Partial<Host>): void;
