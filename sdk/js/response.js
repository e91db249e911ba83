import * as host from "#host/response";
import { whole } from "./checks.js";
import { told } from "./errors.js";
import { fields } from "./fields.js";

export const response = /* @__PURE__ */ Object.freeze({
  status: host.status,
  madeBy: host.madeBy,
  headers: /* @__PURE__ */ fields("response", host),
  setStatus: (status) => told(`response.setStatus(${status})`, () => host.setStatus(whole("response.setStatus(..): the status", status))),
});
