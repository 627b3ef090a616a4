import posthog from "posthog-js";

export const load = () => (collector) => {
  posthog.init("bench", { api_host: collector, capture_pageview: false });
  return {
    view: () => posthog.capture("$pageview"),
    track: (name, properties) => posthog.capture(name, properties),
  };
};
