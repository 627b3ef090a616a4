// Turns what a page passes into what events can hold, at once: what the page changes later changes no event.

import type { Cart, Properties } from "./api";
import type { WireEvent, WireOrder } from "./event";

/** Longest text of a property; what has more bytes than characters may still be refused by the server. */
const MAX_TEXT = 4_096;

const warned = new Set<string>();

/** Says something in the console, once for each kind. */
export const warn = (kind: string, detail: unknown) => {
  if (!warned.has(kind)) {
    warned.add(kind);
    console.warn("wakeline: " + kind, detail);
  }
};

/** Why a property can't be `value`; empty if it can. */
const objection = (value: unknown) => {
  const kind = typeof value;
  if (kind == "string") return (value as string).length > MAX_TEXT ? "a text this long" : "";
  if (kind == "number") return isFinite(value as number) ? "" : value + "";
  if (kind == "boolean") return "";
  if (value instanceof Date) return isFinite(+value) ? "" : "an invalid Date";
  return "a " + kind;
};

export const cleanProperties = (properties: Properties | undefined) => {
  const clean: NonNullable<WireEvent["properties"]> = {};
  // A copy reads each property once: a getter may throw, which loses the event and no more.
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value == null) continue;
    const why = objection(value);
    if (why) warn("a property can't be " + why, name);
    else clean[name] = value;
  }
  return clean;
};

const whole = (amount: unknown, least = -Infinity) => {
  if (!Number.isSafeInteger(amount) || (amount as number) < least) {
    throw `money and quantities are whole numbers, in minor units: ${String(amount)}`;
  }
  return amount as number;
};
const text = (value: unknown) => (value == null ? "" : String(value));

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
