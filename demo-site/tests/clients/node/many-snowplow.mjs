// Sends many events while its collector is killed; prints how many were confirmed.
import { setTimeout } from "node:timers/promises";
import { buildStructEvent, newTracker } from "@snowplow/node-tracker";
import { collector, site } from "./visit.mjs";

let confirmed = 0;
const tracker = newTracker(
  { namespace: "sp", appId: site, encodeBase64: false },
  {
    endpoint: collector,
    bufferSize: 10,
    onRequestSuccess: (batch) => {
      confirmed += batch.length;
    },
  },
);
for (let n = 0; n < 1000; n += 1) {
  tracker.setDomainUserId(`visitor-${n % 20}`);
  tracker.track(buildStructEvent({ category: "test", action: "tick", value: n }));
  if (n % 10 === 0) await setTimeout(40);
}
for (let waits = 0; confirmed < 1000 && waits < 400; waits += 1) {
  await tracker.flush();
  await setTimeout(200);
}
console.log(JSON.stringify({ confirmed }));
