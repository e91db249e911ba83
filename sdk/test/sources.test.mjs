// Stacks as the engine writes them, with the author's files and lines.
import assert from "node:assert/strict";
import test from "node:test";

import { sources } from "../js/sources.js";

const stack = `    at deep (/target/lockgate/plugin.js:3:10)
    at map (native)
    at onRequest (/target/lockgate/plugin.js:161:3)
    at <anonymous> (/target/lockgate/plugin.js:186:20)
    at /target/lockgate/plugin.js:170:1
`;

test("frames have the author's files and lines, and those of the SDK are left out", () => {
  assert.equal(sources(stack), stack.trimEnd(), "where nobody has said which they are");
  globalThis.lockgateSources = JSON.stringify({
    files: ["lib/deep.js", "plugin.js"],
    runs: [[2, 0, 1], [5, -1, 0], [160, 1, 8], [170, 1, 30], [180, -1, 0]],
  });
  try {
    assert.equal(
      sources(stack),
      "    at deep (lib/deep.js:2)\n    at map (native)\n    at onRequest (plugin.js:9)\n    at plugin.js:30",
    );
    assert.equal(sources("    at a (/target/lockgate/plugin.js:1:1)\n"), "", "what stands before all is nobody's");
  } finally {
    delete globalThis.lockgateSources;
  }
});
