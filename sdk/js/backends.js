import * as host from "#host/backends";

export { count, get } from "#host/backends";
export const all = () => Array.from({ length: host.count() }, (_, index) => host.get(index));
