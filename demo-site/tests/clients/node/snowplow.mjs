import { buildPageView, buildSelfDescribingEvent, newTracker } from "@snowplow/node-tracker";
import { collector, landing, moment, site, thanks } from "./visit.mjs";

let confirmed = 0;
const onRequestSuccess = (batch) => {
  confirmed += batch.length;
};
const tracker = newTracker(
  { namespace: "sp", appId: site, encodeBase64: false },
  { endpoint: collector, onRequestSuccess },
);
tracker.setDomainUserId("visitor-1");
tracker.setUserId("customer-17");

const ecommerce = "iglu:com.snowplowanalytics.snowplow.ecommerce";
tracker.track(buildPageView({ pageUrl: landing.url, pageTitle: landing.title }));
await moment();
tracker.track(
  buildSelfDescribingEvent({ event: { schema: "iglu:com.example/signup/jsonschema/1-0-0", data: { plan: "pro" } } }),
);
tracker.track(buildPageView({ pageUrl: thanks.url, pageTitle: thanks.title }));
tracker.track(
  buildSelfDescribingEvent({
    event: { schema: `${ecommerce}/snowplow_ecommerce_action/jsonschema/1-0-2`, data: { type: "transaction" } },
  }),
  [
    {
      schema: `${ecommerce}/transaction/jsonschema/1-0-0`,
      data: { transaction_id: "A-1", revenue: 25.5, currency: "EUR", payment_method: "card", total_quantity: 2 },
    },
  ],
);
// What failed is sent again when the next event is, or with the next flush.
while (confirmed < 4) {
  await tracker.flush();
  await moment();
}
