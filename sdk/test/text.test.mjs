// Texts as the engine's neighbours make and read them: node --test sdk/test/*.test.mjs
import assert from "node:assert/strict";
import test from "node:test";

import { decode, encode } from "../js/text.js";

const theirs = new TextDecoder("utf-8", { ignoreBOM: true });

test("texts become their UTF-8 bytes, and texts again", () => {
  for (const text of ["", "a", "shop", "é", "日本", "🦀 crab", "x".repeat(10_000) + "é" + "y".repeat(5000), "\ufeffbom", "\0"]) {
    assert.deepEqual(encode(text), new TextEncoder().encode(text));
    assert.equal(decode(encode(text)), text);
  }
  assert.deepEqual(encode("\ud800x"), new TextEncoder().encode("\ud800x"));
});

test("sound sequences among others are read, and nothing is read into the others", () => {
  let seed = 1;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const pieces = ["plain text ", "é", "日", "🦀"].map((text) => new TextEncoder().encode(text));
  for (let round = 0; round < 2000; round++) {
    const piece = () => (random(3) ? [...pieces[random(4)]] : [0xf8 + random(8)]);
    const bytes = Uint8Array.from(Array.from({ length: random(12) }, piece).flat());
    // What can begin no sequence is one U+FFFD each, by either reading.
    assert.equal(decode(bytes), theirs.decode(bytes), `${bytes}`);
  }
});
