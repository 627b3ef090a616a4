/** The figures: what they are called, what they mean, and how they are written. */
import { duration, fullNumber, moneyFull, moneyShort, percent, shortNumber } from "./format";
import { speaksOf, type Filter } from "./filters";
import type { PeriodKey } from "./period";

export type Metric =
  | "visitors" | "new_visitors" | "returning_visitors" | "visits" | "pageviews" | "events" | "views_per_visit" | "bounce_rate" | "visit_duration"
  | "orders" | "total_revenue" | "average_revenue" | "conversion_rate" | "group_conversion_rate" | "time_on_page" | "scroll_depth" | "percentage";

export interface MetricInfo {
  readonly name: string;
  /** In one sentence. */
  readonly meaning: string;
  /** For a card, an axis or a narrow column; `currency` is that of money. */
  readonly short: (value: number, currency: string) => string;
  readonly full: (value: number, currency: string) => string;
  /** Averages are drawn only where there was something to average. */
  readonly average: boolean;
  /** Less of it is better. */
  readonly lessIsBetter?: boolean;
  /** Changes are told in points, since it is a share. */
  readonly share?: boolean;
}

const count = { short: shortNumber, full: fullNumber, average: false };
const share = { short: percent, full: percent, average: true, share: true };
const time = { short: duration, full: duration, average: true };
const money = { short: moneyShort, full: moneyFull, average: false };

export const METRIC_INFO: Readonly<Record<Metric, MetricInfo>> = {
  visitors: { ...count, name: "Visitors", meaning: "Different browsers and apps that did something; who comes twice counts once." },
  new_visitors: { ...count, name: "New visitors", meaning: "Visitors who were never seen before the first day shown." },
  returning_visitors: { ...count, name: "Returning", meaning: "Visitors who had been there before the first day shown." },
  visits: { ...count, name: "Visits", meaning: "Stretches of activity that began in this time; more than 30 minutes without an event end one, unless the site has another gap." },
  pageviews: { ...count, name: "Pageviews", meaning: "Pages and screens viewed." },
  events: { ...count, name: "Events", meaning: "Everything that happened: pageviews, clicks, orders and your own events. Attention is not counted." },
  views_per_visit: {
    name: "Views per visit", meaning: "Pageviews divided by visits.", short: (value) => String(value), full: (value) => String(value), average: true,
  },
  bounce_rate: { ...share, name: "Bounce rate", meaning: "Of all visits, those of a single page with nothing done on it.", lessIsBetter: true },
  visit_duration: { ...time, name: "Visit duration", meaning: "From a visit’s first event to its last, on average; a bounce is 0." },
  orders: { ...count, name: "Orders", meaning: "Orders placed." },
  total_revenue: { ...money, name: "Revenue", meaning: "The value of all orders." },
  average_revenue: { ...money, average: true, name: "Average order", meaning: "The value of all orders divided by their number." },
  conversion_rate: { ...share, name: "Conversion rate", meaning: "Of all visitors under the other filters, those who reached the goal." },
  group_conversion_rate: { ...share, name: "Conv. rate", meaning: "Of the visitors in this row, those who reached the goal." },
  time_on_page: { ...time, name: "Time on page", meaning: "Attention to the page while it was in sight, per visit that paid any." },
  scroll_depth: { ...share, name: "Scroll depth", meaning: "How far down visits scrolled the page at most, on average." },
  percentage: { ...share, name: "Share", meaning: "Of all visitors, those in this row." },
};

const USUAL: readonly Metric[] = ["visitors", "new_visitors", "visits", "pageviews", "events", "bounce_rate", "visit_duration", "total_revenue"];
const OF_PAGE: readonly Metric[] = ["visitors", "new_visitors", "visits", "pageviews", "bounce_rate", "visit_duration", "time_on_page", "scroll_depth"];
const OF_GOAL: readonly Metric[] = ["visitors", "conversion_rate", "events", "visits", "new_visitors", "orders", "total_revenue", "average_revenue"];
/** Who is new is known of whole days. */
const OF_HOURS: readonly PeriodKey[] = ["realtime", "24h"];

/** The figures that say most under these filters. */
export function figuresOf(filters: readonly Filter[], period: PeriodKey): readonly Metric[] {
  const all = speaksOf(filters, "event:goal") ? OF_GOAL : speaksOf(filters, "event:page") ? OF_PAGE : USUAL;
  return OF_HOURS.includes(period) ? all.map((metric) => (metric === "new_visitors" ? "views_per_visit" : metric)) : all;
}

/** What a figure is called where it stands among conversions. */
export function figureName(metric: Metric, filters: readonly Filter[]): string {
  if (speaksOf(filters, "event:goal")) {
    if (metric === "visitors") return "Converted";
    if (metric === "events") return "Conversions";
  }
  return METRIC_INFO[metric].name;
}

export function metricFrom(text: string | null): Metric {
  return text !== null && Object.hasOwn(METRIC_INFO, text) ? (text as Metric) : "visitors";
}
