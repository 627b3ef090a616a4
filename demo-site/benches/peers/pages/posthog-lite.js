import PostHog from "posthog-js-lite";

export const load = () => (collector) => {
  const posthog = new PostHog("bench", { host: collector, captureHistoryEvents: false });
  return {
    view: () => posthog.capture("$pageview"),
    track: (name, properties) => posthog.capture(name, properties),
  };
};
