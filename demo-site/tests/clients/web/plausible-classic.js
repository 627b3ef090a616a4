import Plausible from "plausible-tracker";

const { collector, site } = window.settings;

const plausible = Plausible({ domain: site, apiHost: collector });
plausible.enableAutoPageviews();

window.signUp = () => plausible.trackEvent("signup", { props: { plan: "pro" } });

// This client knows no revenue.
window.buy = () => plausible.trackEvent("Purchase", { props: { order: "A-1" } });
