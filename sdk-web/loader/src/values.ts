// Turns what a page passes into what events can hold, at once: what the page changes later changes no event.

import type { Cart } from "./api";
import type { WireEvent, WireOrder } from "./event";

/** Longest text of a property; what has more bytes than characters may still be refused by the server. */
const MAX_TEXT = 4_096;

const warned = new Set<string>();

/** Says something in the console, once for each kind. */
export const warn = (kind: string, detail: unknown) => {
  try {
    if (!warned.has(kind)) {
      warned.add(kind);
      console.warn("wakeline: " + kind, detail);
    }
  } catch {
    // A page's own console: nothing may reach the page.
  }
};

const fits = (value: unknown): value is string | number | boolean | Date =>
  typeof value == "string"
    ? value.length <= MAX_TEXT
    : typeof value == "boolean" || ((typeof value == "number" || value instanceof Date) && isFinite(+value));

export const cleanProperties = (properties: object | undefined) => {
  const clean: NonNullable<WireEvent["properties"]> = {};
  // A copy reads each property once: a getter may throw, which loses the event and no more.
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value == null) continue;
    if (fits(value)) clean[name] = value instanceof Date ? new Date(+value) : value;
    else warn("property left out", [name, value]);
  }
  return clean;
};

const whole = (amount: unknown, least = -Infinity) => {
  if (!Number.isSafeInteger(amount) || (amount as number) < least) {
    throw "not minor units";
  }
  return amount as number;
};
const text = (value: string | undefined) => (value ?? "") + "";

export const cleanOrder = (cart: Cart): WireOrder => ({
  id: text(cart.id),
  currency: text(cart.currency),
  value: whole(cart.value),
  items: cart.items.map((item) => ({
    sku: text(item.sku),
    name: text(item.name),
    price: whole(item.price),
    quantity: whole(item.quantity, 0),
  })),
});
