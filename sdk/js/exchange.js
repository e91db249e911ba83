import { text } from "./checks.js";
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
  setNote: (key, value) => host.setNote(text("exchange.setNote(..): the key", key), text("exchange.setNote(..): the value", value)),
  clientCertificate: () => clientCertificate() ?? null,
  tenant: () => tenant() ?? null,
  serverName: () => serverName() ?? null,
  backend: () => backend() ?? null,
  note: (key) => note(text("exchange.note(..): the key", key)) ?? null,
});
