import assert from "node:assert/strict";
import { test } from "node:test";
import { fetch } from "../js/fetch.js";
import { reset } from "../js/testing.js";

test("a body is read in parts, and what is left of it at once", () => {
  reset({ httpAnswers: [{ status: 200, body: "abcdefg" }, { status: 200, body: "abc" }] });
  const text = (bytes) => new TextDecoder().decode(bytes);
  const first = fetch("https://auth.internal/");
  assert.deepEqual([text(first.read(2)), text(first.read(3)), first.text()], ["ab", "cde", "fg"]);
  const second = fetch("https://auth.internal/");
  assert.deepEqual([text(second.read()), second.read().length, second.read(1).length], ["abc", 0, 0]);
});
