// Refuses request bodies that a JSON Schema does not allow, before any of them reaches a backend.
//
// config = { schema = { type = "object", required = ["name"] }, max = 65536 }
import "./url.js";
import { Validator, type Schema } from "@cfworker/json-schema";
import { answer, decode, hold, request, type Verdict } from "lockgate";

interface Config {
  schema: Schema;
  /** The longest body in bytes. */
  max?: number;
}

let validator: Validator;
let max: number;

export function configure(config: Config): void {
  if (typeof config.schema !== "object") throw "schema: must be a JSON Schema";
  validator = new Validator(config.schema, "2020-12", false);
  max = config.max ?? 65536;
}

export function onRequest(): Verdict | void {
  if (!["POST", "PUT", "PATCH"].includes(request.method())) return;
  const type = request.headers.get("content-type")?.split(";")[0].trim().toLowerCase();
  if (type !== "application/json") return problem(415, [{ at: "", error: "the body must be application/json" }]);
  return hold(max);
}

export function onRequestComplete(body: Uint8Array): Verdict | void {
  let document: unknown;
  try {
    document = JSON.parse(decode(body));
  } catch (error) {
    return problem(400, [{ at: "", error: `not JSON: ${(error as Error).message}` }]);
  }
  const { valid, errors } = validator.validate(document);
  if (!valid) return problem(422, errors.map((one) => ({ at: one.instanceLocation, error: one.error })));
}

/** RFC 9457. */
function problem(status: number, errors: { at: string; error: string }[]): Verdict {
  const body = JSON.stringify({ title: "the request's body is not what this address takes", status, errors });
  return answer(status, body, { "content-type": "application/problem+json" });
}
