import PostHog from "posthog-js-lite";

const { collector, site } = window.settings;

const posthog = new PostHog(site, { host: collector });
posthog.capture("$pageview");

window.signUp = () => {
  posthog.identify("customer-17", { plan: "pro" });
  posthog.capture("signup", { plan: "pro" });
};

window.buy = () => {
  posthog.capture("Order Completed", { order_id: "A-1", revenue: 25.5, currency: "EUR" });
};
