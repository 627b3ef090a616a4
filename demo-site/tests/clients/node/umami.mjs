import umami from "@umami/node";
import { collector, landing, moment, site, thanks } from "./visit.mjs";

umami.default.init({ websiteId: site, hostUrl: collector });
const page = ({ url, title }) => ({ hostname: "shop.example", url, title, language: "de-DE", screen: "1280x900" });

await umami.default.track(page(landing));
await moment();
await umami.default.identify({ plan: "pro" });
await umami.default.track("signup", { plan: "pro" });
await umami.default.track(page(thanks));
await umami.default.track("Purchase", { revenue: 25.5, currency: "EUR" });
