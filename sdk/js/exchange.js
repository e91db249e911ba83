import * as host from "#host/exchange";

export { id, requestId, route, hostIsNamed, clientAddress, peerAddress, peerPort, fromTrustedProxy, setNote } from "#host/exchange";
export const clientCertificate = () => host.clientCertificate() ?? null;
export const tenant = () => host.tenant() ?? null;
export const serverName = () => host.serverName() ?? null;
export const backend = () => host.backend() ?? null;
export const note = (key) => host.note(key) ?? null;
