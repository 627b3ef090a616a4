import { newTracker, trackPageView, trackSelfDescribingEvent } from "@snowplow/browser-tracker";

export const load = () => (collector) => {
  newTracker("sp", collector, { appId: "bench" });
  return {
    view: () => trackPageView(),
    track: (name, data) =>
      trackSelfDescribingEvent({ event: { schema: `iglu:com.example/${name}/jsonschema/1-0-0`, data } }),
  };
};
