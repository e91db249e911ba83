// Between the contract and a plugin's functions: `lockgate plugin build` writes a module that uses this. What a plugin
// throws is logged with its stack, which otherwise nobody would see.
import { log } from "#host/log";
import { sources } from "./sources.js";
import { bytesOf } from "./text.js";

// What people write first who look for a mistake; the engine has none of its own.
const line = (level) => (...values) => log(level, values.map(written).join(" "));
const written = (value) => (value instanceof Error ? `${value}\n${sources(value.stack ?? "")}` : typeof value === "string" ? value : shown(value));
globalThis.console = { log: line("info"), info: line("info"), warn: line("warn"), error: line("error"), debug: line("debug") };

const check = (name, of) => {
  if (typeof of !== "function") throw new TypeError(`${name} is no function`);
};

// Hooks have two parameters at most: to gather whatever comes would cost more than to hand on what does not.
function guarded(name, hook) {
  check(name, hook);
  return (one, other) => {
    try {
      return hook(one, other);
    } catch (error) {
      throw logged(name, error);
    }
  };
}

function logged(name, error) {
  const stack = sources(error?.stack ?? "");
  log("error", `${name} threw ${error}${stack && "\n"}${stack}`);
  return error;
}

const shown = (value) => {
  if (typeof value?.then === "function") return "a promise (hooks are plain functions: take `async` away, calls of the host wait by themselves)";
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
};

// A hook that returns one of these cases, or nothing, which is the case that is called first.
const choice = (name, of, nothing, ...cases) => {
  const none = { tag: nothing };
  check(name, of);
  // Not in two functions, of which the inner one is `guarded`: each costs a tenth of a microsecond.
  return (one, other) => {
    let it;
    try {
      it = of(one, other);
    } catch (error) {
      throw logged(name, error);
    }
    if (it == null) return none;
    if (cases.some(([tag]) => it.tag === tag)) return it;
    const wanted = cases.map(([, written]) => written).join(", ");
    throw logged(name, new TypeError(`it returned ${shown(it)}, and not ${wanted} or nothing`));
  };
};

const verdict = (name, of) => choice(name, of, "proceed", ["answer", "answer(..)"], ["hold", "hold(..)"]);
const action = (name, of) => choice(name, of, "pass", ["replace", "replace(..)"], ["abort", "abort()"]);

// What is thrown here is the reason that the operator reads. What the engine itself throws is a mistake in the code.
const result = (of) => (...args) => {
  try {
    of(...args);
  } catch (error) {
    if (!mistakes.includes(error?.constructor)) throw String(error?.message ?? error);
    const [frame] = sources(error.stack).split("\n", 1);
    throw `${error} ${frame.trim()}`;
  }
};

const mistakes = [TypeError, ReferenceError, RangeError];

export const configure = (of) => result((json) => of?.(JSON.parse(json)));
export const selfTest = result;
export const onRequest = (of) => verdict("onRequest", of);
export const onRequestComplete = (of) => verdict("onRequestComplete", of);
export const onResponse = (of) => verdict("onResponse", of);
export const onRequestBody = (of) => action("onRequestBody", of);
export const onResponseBody = (of) => action("onResponseBody", of);
export const importState = result;
export const exportState = (of) => guarded("exportState", () => bytesOf(of()));
export const onAttemptFailed = (of) =>
  choice("onAttemptFailed", of, "proceed", ["pick", "pick(..)"], ["give-up", "giveUp()"]);
export const onConnect = (of) => {
  const hook = guarded("onConnect", of);
  return (arriving) => {
    const it = hook(arriving) ?? "accept";
    if (it === "accept" || it === "refuse") return it;
    throw logged("onConnect", new TypeError(`it returned ${shown(it)}, and not refuse() or nothing`));
  };
};
export const pickBackend = (of) => {
  const hook = guarded("pickBackend", of);
  return (count) => {
    const index = hook(count);
    if (index == null || Number.isInteger(index)) return index ?? undefined;
    throw logged("pickBackend", new TypeError(`it returned ${shown(index)}, and not an index or nothing`));
  };
};
/** For hooks that return nothing, or what the contract takes as it is. */
export const plain = (name, of) => guarded(name, of);
