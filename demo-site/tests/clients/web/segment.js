import { AnalyticsBrowser } from "@segment/analytics-next";

const { collector, site, options } = window.settings;
const { host } = new URL(collector);

const analytics = AnalyticsBrowser.load(
  { writeKey: site, cdnURL: collector },
  { integrations: { "Segment.io": { apiHost: `${host}/v1`, protocol: "http", ...options } } },
);
analytics.page();

window.signUp = () => {
  analytics.identify("customer-17", { plan: "pro" });
  analytics.track("signup", { plan: "pro" });
};

window.buy = () => {
  analytics.track("Order Completed", {
    order_id: "A-1",
    revenue: 25.5,
    currency: "EUR",
    products: [{ product_id: "AL-101", name: "Harbour mug", price: 12.75, quantity: 2 }],
  });
};
