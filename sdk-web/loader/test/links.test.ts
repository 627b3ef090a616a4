import assert from "node:assert/strict";
import { test } from "node:test";
import { brought, sign } from "../src/links";

/** Node 20 has none. */
const browser = { userAgent: "one", language: "en" };
Object.defineProperty(globalThis, "navigator", { value: browser, configurable: true });

const INSTALL = "0123456789abcdef012345.20000";
const NOW = 1_790_000_000_000;

test("a link brings the install id for two minutes", () => {
  const link = sign("k", INSTALL, NOW);
  assert.equal(brought("k", link, NOW + 119_000), INSTALL);
  assert.equal(brought("k", link, NOW + 121_000), undefined);
});

test("a link that was changed, of another site or of another browser brings nothing", () => {
  const link = sign("k", INSTALL, NOW);
  assert.equal(brought("other", link, NOW), undefined);
  assert.equal(brought("k", link.replace("0123", "1123"), NOW), undefined);
  browser.userAgent = "another";
  assert.equal(brought("k", link, NOW), undefined);
  browser.userAgent = "one";
  for (const text of ["", "x", "....", INSTALL]) assert.equal(brought("k", text, NOW), undefined, text);
});
