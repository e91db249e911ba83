import { count, get as of } from "#host/backends";
import { whole } from "./checks.js";

const get = (index) => of(whole("backends.get(..): the index", index));

export const backends = /* @__PURE__ */ Object.freeze({
  count,
  get,
  all: () => Array.from({ length: count() }, (_, index) => get(index)),
});
