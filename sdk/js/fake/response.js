import { host, message } from "../testing.js";

export const status = () => host.responseStatus;
export const madeBy = () => host.responseOrigin;
export const { header, headerBytes, headers, setHeader, appendHeader, removeHeader } = message("responseHeaders");
export const setStatus = (status) => void (host.responseStatus = status);
