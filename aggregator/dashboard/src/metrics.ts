/** The six figures. */
import { duration, fullNumber, percent, shortNumber } from "./format";

export const METRICS = ["visitors", "visits", "pageviews", "events", "bounce_rate", "visit_duration"] as const;
export type Metric = (typeof METRICS)[number];

export interface MetricInfo {
  readonly name: string;
  readonly meaning: string;
  /** For a card or an axis. */
  readonly short: (value: number) => string;
  readonly full: (value: number) => string;
  /** Averages are drawn only where there was something to average. */
  readonly average: boolean;
}

const count = { short: shortNumber, full: fullNumber, average: false };

export const METRIC_INFO: Readonly<Record<Metric, MetricInfo>> = {
  visitors: { ...count, name: "Visitors", meaning: "Different browsers that were active" },
  visits: { ...count, name: "Visits", meaning: "Stretches of activity, ended by 30 minutes without any" },
  pageviews: { ...count, name: "Pageviews", meaning: "Pages and screens viewed" },
  events: { ...count, name: "Events", meaning: "Everything that was counted, pageviews included" },
  bounce_rate: {
    name: "Bounce rate", meaning: "Visits of a single page with nothing done on it",
    short: percent, full: percent, average: true,
  },
  visit_duration: {
    name: "Visit duration", meaning: "From a visit's first event to its last, on average",
    short: duration, full: duration, average: true,
  },
};

export function metricFrom(text: string | null): Metric {
  return METRICS.find((metric) => metric === text) ?? "visitors";
}
