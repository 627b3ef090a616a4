import ga4mp from "@analytics-debugger/ga4mp";

const { collector, site } = window.settings;

// This client leaves it to the page to remember who it is.
localStorage.client ??= `${Math.floor(Math.random() * 1e9)}.${Math.floor(Date.now() / 1000)}`;
const ga4 = ga4mp([site], { endpoint: `${collector}/g/collect`, client_id: localStorage.client });
ga4.trackEvent("page_view", {});

window.signUp = () => ga4.trackEvent("signup", { plan: "pro" });

window.buy = () => {
  ga4.trackEvent("purchase", {
    transaction_id: "A-1",
    value: 25.5,
    currency: "EUR",
    items: [{ item_id: "AL-101", item_name: "Harbour mug", price: 12.75, quantity: 2 }],
  });
};
