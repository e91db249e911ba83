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
    throw refused(what, error);
  }
}

/** What the host has thrown as a HostError; anything else as it is. */
export const refused = (what, error) => (error?.payload?.tag ? new HostError(what, error.payload) : error);
