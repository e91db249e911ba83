import { bytes, number } from "#host/random";
import { whole } from "./checks.js";

export const random = /* @__PURE__ */ Object.freeze({
  bytes: (length) => bytes(whole("random.bytes(..): the length", length)),
  number,
});
