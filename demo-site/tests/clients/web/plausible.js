import { init, track } from "@plausible-analytics/tracker";

const { collector, site } = window.settings;

init({ domain: site, endpoint: `${collector}/api/event` });

window.signUp = () => track("signup", { props: { plan: "pro" } });

window.buy = () => track("Purchase", { revenue: { amount: 25.5, currency: "EUR" } });
