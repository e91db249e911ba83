import { host } from "../testing.js";

export const number = () => host.random++;
export const bytes = (length) => Uint8Array.from({ length }, () => host.random++ & 255);
