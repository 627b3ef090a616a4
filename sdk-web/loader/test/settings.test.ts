import assert from "node:assert/strict";
import { test } from "node:test";
import { settingsOf } from "../src/reply";

const bytes = (...parts: (number | string)[]) =>
  Uint8Array.from(parts.flatMap((part) => (typeof part == "number" ? [part] : [...Buffer.from(part)])));

test("settings are found behind counts and rejections", () => {
  assert.equal(settingsOf(bytes(8, 200, 1, 18, 2, "xx", 26, 2, "{}")), "{}");
});

test("a reply without settings has none, whatever its bytes are", () => {
  for (const reply of [[], [8, 1], [26], [255, 255, 255], [18, 250, 1], [7, 7, 7], [9]]) {
    const settings = settingsOf(Uint8Array.from(reply));
    assert.ok(settings === undefined || settings === "", `${reply}`);
  }
});
