import assert from "node:assert/strict";
import { test } from "node:test";
import { host, reset } from "lockgate/testing";
import * as plugin from "./plugin.js";

const backends = ["http://a", "http://b"].map((address) => ({ address, inFlight: 0 }));

test("visitors are split, and stay where they were", () => {
  plugin.configure({ share: 10, b: "http://b" });
  for (const [random, cookie, picked, sets] of [
    [9, null, 1, true],
    [10, null, 0, true],
    [99, "x=1; variant=b", 1, false],
    [0, "variant=a", 0, false],
    [0, "variant=c", 1, true],
  ]) {
    reset({ random, backends, requestHeaders: cookie ? [["cookie", cookie]] : [] });
    plugin.onRequest();
    assert.equal(plugin.pickBackend(), picked);
    assert.equal(host.responseHeaders.length, sets ? 1 : 0);
  }
});

test("where the wanted one is down, the upstream decides", () => {
  plugin.configure({ share: 100, b: "http://b" });
  reset({ backends: backends.slice(0, 1) });
  plugin.onRequest();
  assert.equal(plugin.pickBackend(), undefined);
});

test("what makes no sense is refused", () => {
  assert.throws(() => plugin.configure({ share: 101, b: "http://b" }), /^share: /);
  assert.throws(() => plugin.configure({ share: 1 }), /^b: /);
});
