// Sends many events while its collector is killed; prints how many were confirmed.
import { setTimeout } from "node:timers/promises";
import { Analytics } from "@segment/analytics-node";
import { collector, site } from "./visit.mjs";

const analytics = new Analytics({ writeKey: site, host: collector, maxRetries: 30 });
let confirmed = 0;
for (let n = 0; n < 1000; n += 1) {
  const call = { anonymousId: `visitor-${n % 20}`, event: "tick", properties: { n } };
  analytics.track(call, (error) => {
    confirmed += error ? 0 : 1;
  });
  if (n % 10 === 0) await setTimeout(40);
}
await analytics.closeAndFlush({ timeout: 80_000 });
console.log(JSON.stringify({ confirmed }));
