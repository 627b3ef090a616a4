import { PostHog } from "posthog-node";
import { collector, landing, moment, order, site, thanks } from "./visit.mjs";

const posthog = new PostHog(site, { host: collector });
const distinctId = "customer-17";

posthog.capture({ distinctId, event: "$pageview", properties: { $current_url: landing.url } });
await moment();
posthog.identify({ distinctId, properties: { plan: "pro" } });
posthog.capture({ distinctId, event: "signup", properties: { plan: "pro" } });
posthog.capture({ distinctId, event: "$pageview", properties: { $current_url: thanks.url } });
posthog.capture({ distinctId, event: "Order Completed", properties: order });
await posthog.shutdown();
