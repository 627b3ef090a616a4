import MatomoTracker from "matomo-tracker";
import { browser, collector, landing, site, thanks } from "./visit.mjs";

const matomo = new MatomoTracker(site, `${collector}/matomo.php`);
matomo.on("error", (error) => console.error(error));
const who = { _id: "0123456789abcdef", ua: browser };
const page = ({ url, title }) => ({ ...who, url, action_name: title });
// Of bulk requests this client's documents state the time, as ISO 8601 has it.
const ago = (seconds) => ({ cdt: new Date(Date.now() - seconds * 1000).toISOString() });

matomo.trackBulk(
  [
    { ...page(landing), ...ago(3) },
    { ...who, ...ago(2), url: landing.url, e_c: "account", e_a: "signup", e_n: "pro" },
    { ...page(thanks), ...ago(1) },
  ],
  (answer) => console.log(answer),
);
matomo.track({
  ...who,
  url: thanks.url,
  idgoal: "0",
  ec_id: "A-1",
  revenue: "25.50",
  ec_items: JSON.stringify([["AL-101", "Harbour mug", "cups", 12.75, 2]]),
});
