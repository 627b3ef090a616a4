// What each client tells: who was there, and what was sold.
import { setTimeout } from "node:timers/promises";

export const { COLLECTOR: collector, SITE: site } = process.env;

export const landing = {
  url: "https://shop.example/?utm_source=newsletter&utm_medium=email",
  title: "Shop",
};
export const thanks = { url: "https://shop.example/thanks", title: "Thank you" };
export const browser =
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
export const order = {
  order_id: "A-1",
  revenue: 25.5,
  currency: "EUR",
  products: [{ product_id: "AL-101", name: "Harbour mug", price: 12.75, quantity: 2 }],
};

/** A person needs a moment between two actions. */
export const moment = () => setTimeout(20);
