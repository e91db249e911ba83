import { bytes, number } from "#host/random";

export const random = /* @__PURE__ */ Object.freeze({ bytes, number });
