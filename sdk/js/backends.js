import { count, get } from "#host/backends";

export const backends = /* @__PURE__ */ Object.freeze({
  count,
  get,
  all: () => Array.from({ length: count() }, (_, index) => get(index)),
});
