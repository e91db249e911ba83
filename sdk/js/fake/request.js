import { host, message } from "../testing.js";

export const method = () => host.method;
export const scheme = () => host.scheme;
const authority = () => host.host;
export { authority as host };
export const path = () => host.path;
export const query = () => host.query;
export const { header, headerBytes, headers, setHeader, appendHeader, removeHeader } = message("requestHeaders");
export const setPath = (path) => void (host.path = path);
export const setQuery = (query) => void (host.query = query);
export const setBody = (body) => void (host.requestBody = body);
