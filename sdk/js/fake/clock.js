import { host } from "../testing.js";

export const now = () => host.now;
export const monotonic = () => host.monotonic;
