import { host } from "../testing.js";

export const count = () => host.backends.length;
export const get = (index) => host.backends[index];
