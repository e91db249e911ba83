import * as host from "#host/trailers";
import { told } from "./errors.js";
import { decode } from "./text.js";

export const get = (name) => host.get(name) ?? null;
export const entries = () => host.all().map(([name, value]) => [name, decode(value)]);
export const set = (name, value) => told(`trailers.set("${name}")`, () => host.set(name, String(value)));
const remove = (name) => told(`trailers.delete("${name}")`, () => host.remove(name));
export { remove as delete };
