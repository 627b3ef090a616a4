// Turns what a page passes into what events can hold, at once: what the page changes later changes no event.

import type { Cart, Properties } from "./api";
import type { WireEvent, WireOrder } from "./event";

const warned = new Set<string>();

/** Says something in the console, once for each kind. */
export const warn = (kind: string, detail: unknown) => {
  if (!warned.has(kind)) {
    warned.add(kind);
    console.warn("wakeline: " + kind, detail);
  }
};

export const cleanProperties = (properties: Properties | undefined) => {
  const clean: NonNullable<WireEvent["properties"]> = {};
  // A copy reads each property once: a getter may throw, which loses the event and no more.
  for (const [name, value] of Object.entries(properties ?? {}) as [string, unknown][]) {
    const kind = typeof value;
    if (
      kind == "string" ||
      kind == "boolean" ||
      (kind == "number" && isFinite(value as number)) ||
      (value instanceof Date && isFinite(+value))
    ) {
      clean[name] = value as string;
    } else if (value != null) {
      warn(`a property can't be ${kind == "number" ? value : value instanceof Date ? "an invalid Date" : "a " + kind}`, name);
    }
  }
  return clean;
};

const whole = (amount: unknown) => {
  if (!Number.isSafeInteger(amount)) throw `money and quantities are whole numbers, in minor units: ${String(amount)}`;
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
    quantity: whole(item.quantity),
  })),
});
