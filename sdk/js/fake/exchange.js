import { host } from "../testing.js";

export const id = () => host.exchangeId;
export const requestId = () => host.requestId;
export const route = () => host.route;
export const hostIsNamed = () => host.hostIsNamed;
export const clientCertificate = () => host.clientCertificate;
export const tenant = () => host.tenant;
export const clientAddress = () => host.clientAddress;
export const peerAddress = () => host.peerAddress;
export const peerPort = () => host.peerPort;
export const fromTrustedProxy = () => host.fromTrustedProxy;
export const serverName = () => host.serverName;
export const backend = () => host.backend;
export const note = (key) => host.notes[key];
export const setNote = (key, value) => void (host.notes[key] = value);
