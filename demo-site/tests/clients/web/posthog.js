import posthog from "posthog-js";

const { collector, site, options } = window.settings;

posthog.init(site, { api_host: collector, ...options });

window.signUp = () => {
  posthog.identify("customer-17", { plan: "pro" });
  posthog.capture("signup", { plan: "pro" });
};

window.buy = () => {
  posthog.capture("Order Completed", {
    order_id: "A-1",
    revenue: 25.5,
    currency: "EUR",
    products: [{ product_id: "AL-101", name: "Harbour mug", price: 12.75, quantity: 2 }],
  });
};
