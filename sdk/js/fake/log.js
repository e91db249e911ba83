import { host } from "../testing.js";

export const log = (level, message) => void host.log.push([level, message]);
export const enabled = () => true;
