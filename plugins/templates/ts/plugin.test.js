import assert from "node:assert/strict";
import { test } from "node:test";
import { host, reset } from "lockgate/testing";
import * as plugin from "./target/plugin.js";

test("a message there must be", () => {
  assert.throws(() => plugin.configure({}), /^message: must be a text$/);
});

test("it does what it is for", () => {
  reset({ path: "/shop", responseStatus: 200, backends: [{ address: "http://10.0.0.1:8080", inFlight: 0 }] });
  plugin.configure({ message: "hello" });
{{each test}}
  assert.equal(host.method, "GET");
});
