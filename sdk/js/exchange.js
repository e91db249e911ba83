import * as host from "#host/exchange";
import { backend, clientCertificate, note, serverName, tenant } from "#host/exchange";

export const exchange = /* @__PURE__ */ Object.freeze({
  id: host.id,
  requestId: host.requestId,
  route: host.route,
  hostIsNamed: host.hostIsNamed,
  clientAddress: host.clientAddress,
  peerAddress: host.peerAddress,
  peerPort: host.peerPort,
  fromTrustedProxy: host.fromTrustedProxy,
  setNote: host.setNote,
  clientCertificate: () => clientCertificate() ?? null,
  tenant: () => tenant() ?? null,
  serverName: () => serverName() ?? null,
  backend: () => backend() ?? null,
  note: (key) => note(key) ?? null,
});
