import assert from "node:assert/strict";
import { test } from "node:test";
import { fit } from "../src/fit";
import { cleanProperties } from "../src/values";
import type { Entry, WireEvent } from "../src/event";

const entry = (event: Partial<WireEvent>): Entry => [0, 0, { type: "custom", name: "e", properties: {}, ...event }, { visitor: "v" }];
const quiet = (call: () => void) => {
  const { warn } = console;
  const said: unknown[] = [];
  console.warn = (kind: unknown) => said.push(kind);
  try {
    call();
  } finally {
    console.warn = warn;
  }
  return said;
};

test("what a property can't be is left out, with one warning a kind", () => {
  const said = quiet(() => {
    for (let i = 0; i < 3; i += 1) {
      const clean = cleanProperties({ a: NaN, b: Infinity, c: () => 1, d: Symbol("s"), e: {}, f: [1], g: new Date(NaN), h: null, i: undefined });
      assert.deepEqual(clean, {});
    }
  });
  assert.deepEqual(said.length, 4, `${said}`);
});

test("what it can be is copied as it is now", () => {
  const at = new Date(1_000);
  const clean = cleanProperties({ text: "t", number: -0.5, yes: true, at, big: 2n ** 70n });
  at.setTime(0);
  assert.deepEqual(clean, { text: "t", number: -0.5, yes: true, at: { timestamp: "1970-01-01T00:00:01.000Z" }, big: "1180591620717411303424" });
});

test("a getter that throws costs its property only", () => {
  quiet(() => {
    const clean = cleanProperties({ get bad(): string { throw new Error("no"); }, good: 1 });
    assert.deepEqual(clean, { good: 1 });
  });
});

test("texts are cut to whole characters within the bytes that servers take", () => {
  const text = (value: string) => fit(entry({ properties: { text: value } }))[2].properties.text as string;
  assert.equal(text("x".repeat(5_000)).length, 4_096);
  assert.equal(Buffer.byteLength(text("ä".repeat(5_000))), 4_096);
  assert.equal(Buffer.byteLength(text("€".repeat(5_000))), 4_095);
  assert.equal(text("😀".repeat(2_000)).length, 2_048);
});

test("of many properties 128 stay, and names are 1 to 128 bytes", () => {
  quiet(() => {
    const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`p${n}`, n]));
    assert.equal(Object.keys(fit(entry({ properties: many }))[2].properties).length, 128);
    assert.deepEqual(fit(entry({ properties: { "": 1, ["ä".repeat(65)]: 2, fine: 3 } }))[2].properties, { fine: 3 });
  });
});

test("an order with amounts that are not whole becomes a count of its refusal", () => {
  quiet(() => {
    for (const order of [
      { value: 1.5, items: [] },
      { value: 1, items: [{ sku: "s", name: "", price: 0.1, quantity: 1 }] },
      { value: 1, items: [{ sku: "s", name: "", price: 1, quantity: -1 }] },
    ]) {
      const [seq, , event] = fit(entry({ type: "order", order: { id: "1", currency: "EUR", ...order } }));
      assert.deepEqual([seq, event.type, event.name], [0, "refused", "invalid_money"]);
    }
  });
});
