// A host for unit tests on Node: index.d.ts of the SDK says what imports mean, testing.d.ts what can be set up.

const fresh = () => ({
  method: "GET", scheme: "http", host: "localhost", path: "/", query: null, requestHeaders: [], requestBody: null,
  responseStatus: 0, responseOrigin: "backend", responseHeaders: [], trailers: [],
  exchangeId: 1, requestId: "test", route: "default", tenant: null, clientCertificate: null, hostIsNamed: false, clientAddress: "127.0.0.1",
  peerAddress: "127.0.0.1", peerPort: 50000, fromTrustedProxy: false, serverName: null, backend: null, notes: {},
  backends: [], log: [], now: 0, monotonic: 0, random: 0, counters: {}, series: [], kv: new Map(),
  httpAnswers: [], httpRequests: [],
});

export const host = fresh();

/** Makes the host a fresh one, with what is given. */
export function reset(given = {}) {
  Object.assign(host, fresh(), given);
}

/** What the host throws where the contract has an error. */
export function refuse(tag, val) {
  throw Object.assign(new Error(tag), { payload: { tag, val } });
}

/** Fields of a message: `of` is the key of the host that holds them. */
export function message(of) {
  const same = (name) => ([known]) => known.toLowerCase() === name.toLowerCase();
  const check = (name, value) => {
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/i.test(name)) refuse("invalid-name");
    if (/[\r\n\0]/.test(value)) refuse("invalid-value");
  };
  return {
    header: (name) => host[of].find(same(name))?.[1] ?? null,
    headerBytes: (name) => host[of].filter(same(name)).map(([, value]) => new TextEncoder().encode(value)),
    headers: () => host[of].map(([name, value]) => [name.toLowerCase(), new TextEncoder().encode(value)]),
    setHeader(name, value) {
      check(name, value);
      host[of] = [...host[of].filter((field) => !same(name)(field)), [name.toLowerCase(), value]];
    },
    appendHeader(name, value) {
      check(name, value);
      host[of].push([name.toLowerCase(), value]);
    },
    removeHeader(name) {
      host[of] = host[of].filter((field) => !same(name)(field));
    },
  };
}
