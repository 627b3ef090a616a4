import { AnalyticsBrowser } from "@segment/analytics-next";

export const load = () => (collector) => {
  const apiHost = `${new URL(collector).host}/v1`;
  const analytics = AnalyticsBrowser.load(
    { writeKey: "bench", cdnURL: collector },
    { integrations: { "Segment.io": { apiHost, protocol: "http" } } },
  );
  return { view: () => analytics.page(), track: (name, properties) => analytics.track(name, properties) };
};
