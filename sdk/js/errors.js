/** Why the host refused something: `code` is the name of the case in the contract, `invalid-name`. */
export class HostError extends Error {
  constructor(what, payload) {
    const detail = payload.val === undefined ? "" : `: ${payload.val}`;
    super(`${what}: ${payload.tag}${detail}`);
    this.name = "HostError";
    this.code = payload.tag;
  }
}

/** Calls the host, and makes what it refuses a HostError. */
export function told(what, call) {
  try {
    return call();
  } catch (error) {
    if (error?.payload?.tag) throw new HostError(what, error.payload);
    throw error;
  }
}
