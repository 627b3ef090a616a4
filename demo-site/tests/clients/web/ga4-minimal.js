import { track } from "@minimal-analytics/ga4";

const { collector, site } = window.settings;

window.minimalAnalytics = { trackingId: site, analyticsEndpoint: `${collector}/g/collect` };
track();

window.signUp = () => track({ type: "signup", event: { "ep.plan": "pro" } });

window.buy = () => {
  track({ type: "purchase", event: { cu: "EUR", "ep.transaction_id": "A-1", "epn.value": 25.5 } });
};
