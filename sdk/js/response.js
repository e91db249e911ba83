import * as message from "#host/response";
import { told } from "./errors.js";
import { fields } from "./fields.js";

export { status, madeBy } from "#host/response";
export const headers = /* @__PURE__ */ fields("response", message);
export const setStatus = (status) => told(`response.setStatus(${status})`, () => message.setStatus(status));
