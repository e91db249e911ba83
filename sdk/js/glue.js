// Between the contract and a plugin's functions: `lockgate plugin build` writes a module that uses this. What a plugin
// throws is logged with its stack, which otherwise nobody would see.
import * as log from "#host/log";
import { bytesOf } from "./text.js";

function guarded(name, hook) {
  return (...args) => {
    try {
      return hook(...args);
    } catch (error) {
      const stack = error?.stack ? `\n${error.stack}` : "";
      log.log("error", `${name} threw ${error}${stack}`);
      throw error;
    }
  };
}

const shown = (value) => {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
};

const verdict = (name, of) =>
  guarded(name, (...args) => {
    const it = of(...args);
    if (it == null) return { tag: "proceed" };
    if (it.tag === "answer" || it.tag === "hold") return it;
    throw new TypeError(`${name} returned ${shown(it)}, and not answer(..), hold(..) or nothing`);
  });

const action = (name, of) =>
  guarded(name, (...args) => {
    const it = of(...args);
    if (it == null) return { tag: "pass" };
    if (it.tag === "replace" || it.tag === "abort") return it;
    throw new TypeError(`${name} returned ${shown(it)}, and not replace(..), abort() or nothing`);
  });

// What is thrown here is the reason that the operator reads.
const result = (of) => (...args) => {
  try {
    of(...args);
  } catch (error) {
    throw String(error?.message ?? error);
  }
};

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
  guarded("onAttemptFailed", (failed) => {
    const it = of(failed);
    if (it == null) return { tag: "proceed" };
    if (it.tag === "pick" || it.tag === "give-up") return it;
    throw new TypeError(`onAttemptFailed returned ${shown(it)}, and not pick(..), giveUp() or nothing`);
  });
export const onConnect = (of) =>
  guarded("onConnect", (arriving) => {
    const it = of(arriving);
    if (it == null) return "accept";
    if (it === "refuse") return it;
    throw new TypeError(`onConnect returned ${shown(it)}, and not refuse() or nothing`);
  });
export const pickBackend = (of) =>
  guarded("pickBackend", (count) => {
    const index = of(count);
    if (index == null || Number.isInteger(index)) return index ?? undefined;
    throw new TypeError(`pickBackend returned ${shown(index)}, and not an index or nothing`);
  });
/** For hooks that return nothing, or what the contract takes as it is. */
export const plain = (name, of) => guarded(name, of);
