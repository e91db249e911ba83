// What the engine takes without a word, and then ends with the instance: arguments of another kind than the contract's. Functions
// that are called for each exchange look themselves, since a call here would cost more than the look.

/** Says that an argument is of another kind than it must be. */
export function wrong(what, wanted, value) {
  const shown = typeof value === "string" ? JSON.stringify(value) : value;
  throw new TypeError(`${what} must be ${wanted}, and is ${shown}`);
}

/** A text. */
export const text = (what, value) => (typeof value === "string" ? value : wrong(what, "a text", value));

/** A whole number from 0 on. */
export const whole = (what, value) =>
  typeof value === "number" && value >= 0 && value % 1 === 0 ? value : wrong(what, "a whole number from 0 on", value);

/** A number. */
export const number = (what, value) => (typeof value === "number" ? value : wrong(what, "a number", value));
