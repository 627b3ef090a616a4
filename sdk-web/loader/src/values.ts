// Turns what a page passes into what events can hold, at once: what the page changes later changes no event.

import type { Cart } from "./api";
import type { WireEvent, WireOrder } from "./event";

/** Characters of a text; the main module also counts bytes. */
const MAX_TEXT = 4_096;

const warned: Record<string, true> = {};

/** Says something in the console, once for each kind. */
export const warn = (kind: string, detail: unknown) => {
  try {
    if (!warned[kind]) {
      warned[kind] = true;
      console.warn("wakeline: " + kind, detail);
    }
  } catch {
    // A page's own console: nothing may reach the page.
  }
};

/** Adds them to those that are `clean`. */
export const cleanProperties = (properties: object, clean: WireEvent["properties"] = {}) => {
  for (const name of Object.keys(properties)) {
    let value: unknown;
    let kind;
    try {
      // Once: a getter may throw, which loses its property and no more.
      value = properties[name as never];
      if (value == null) continue;
      kind = typeof value;
      if (kind == "bigint") value += "";
      if (typeof value == "string") value = value.slice(0, MAX_TEXT);
      else if (value instanceof Date) value = { timestamp: new Date(value).toISOString() };
      else if (kind != "boolean" && !Number.isFinite(value)) throw 0;
      clean[name] = value as string;
    } catch {
      warn("left out: " + kind, name);
    }
  }
  return clean;
};

const text = (value: string | undefined) => (value ?? "") + "";

/** A copy; the main module judges it. */
export const copyOrder = ({ id, currency, value, items }: Cart): WireOrder => ({
  id: text(id),
  currency: text(currency),
  value,
  items: items.map(({ sku, name, price, quantity }) => ({ sku: text(sku), name: text(name), price, quantity })),
});
