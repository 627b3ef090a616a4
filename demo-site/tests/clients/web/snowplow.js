import { SnowplowEcommercePlugin, trackTransaction } from "@snowplow/browser-plugin-snowplow-ecommerce";
import { newTracker, setUserId, trackPageView, trackSelfDescribingEvent } from "@snowplow/browser-tracker";

const { collector, site, options } = window.settings;

newTracker("sp", collector, { appId: site, plugins: [SnowplowEcommercePlugin()], ...options });
trackPageView();

window.signUp = () => {
  setUserId("customer-17");
  trackSelfDescribingEvent({
    event: { schema: "iglu:com.example/signup/jsonschema/1-0-0", data: { plan: "pro" } },
    context: [{ schema: "iglu:com.example/campaign/jsonschema/1-0-0", data: { code: "ü-1" } }],
  });
};

window.buy = () => {
  const product = { id: "AL-101", name: "Harbour mug", category: "cups", price: 12.75, currency: "EUR", quantity: 2 };
  trackTransaction({
    transaction_id: "A-1",
    revenue: 25.5,
    currency: "EUR",
    payment_method: "card",
    total_quantity: 2,
    products: [product],
  });
};
