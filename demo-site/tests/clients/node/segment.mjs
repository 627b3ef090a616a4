import { Analytics } from "@segment/analytics-node";
import { collector, landing, moment, order, site, thanks } from "./visit.mjs";

const analytics = new Analytics({ writeKey: site, host: collector });
analytics.on("error", (error) => console.error(error));
const who = { anonymousId: "visitor-1" };

analytics.page({ ...who, properties: landing });
await moment();
analytics.identify({ ...who, userId: "customer-17", traits: { plan: "pro" } });
analytics.track({ ...who, userId: "customer-17", event: "signup", properties: { plan: "pro" } });
analytics.page({ ...who, properties: thanks });
analytics.track({ ...who, userId: "customer-17", event: "Order Completed", properties: order });
await analytics.closeAndFlush();
