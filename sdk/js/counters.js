import { add, get, set } from "#host/counters";

export const counters = /* @__PURE__ */ Object.freeze({ add, get, set });
