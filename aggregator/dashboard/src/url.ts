/** What is shown, as the address says it. */
import { metricFrom, type Metric } from "./metrics";
import { DEFAULT_PERIOD, periodFrom, type Interval, type Period } from "./period";

export interface View {
  /** Domain or id; empty: the first site. */
  readonly site: string;
  readonly period: Period;
  readonly metric: Metric;
  /** Empty: the period's usual one. */
  readonly interval: Interval | "";
}

const INTERVALS: readonly string[] = ["minute", "hour", "day", "week", "month"] satisfies Interval[];

export function viewFrom(search: string): View {
  const query = new URLSearchParams(search);
  const interval = query.get("interval") ?? "";
  return {
    site: query.get("site") ?? "",
    period: periodFrom(query.get("period"), query.get("from"), query.get("to")),
    metric: metricFrom(query.get("metric")),
    interval: INTERVALS.includes(interval) ? (interval as Interval) : "",
  };
}

/** The search part of the address, with its `?`; what is usual is left out. */
export function searchOf(view: View): string {
  const query = new URLSearchParams();
  if (view.site) query.set("site", view.site);
  if (view.period.key !== DEFAULT_PERIOD.key) query.set("period", view.period.key);
  if (view.period.from && view.period.to) {
    query.set("from", view.period.from);
    query.set("to", view.period.to);
  }
  if (view.metric !== "visitors") query.set("metric", view.metric);
  if (view.interval) query.set("interval", view.interval);
  const text = query.toString();
  return text ? `?${text}` : "";
}

/** The pages of the dashboard, by their path. */
export type Page = "report" | "goals" | "ledger" | "rules";

export function pageFrom(path: string): Page {
  const name = path.replace(/\/+$/, "").slice(1);
  return name === "goals" || name === "ledger" || name === "rules" ? name : "report";
}
export const pathOf = (page: Page): string => (page === "report" ? "/" : `/${page}`);

/** The token of `#token=…`, if the address brings one. */
export function tokenFrom(hash: string): string | undefined {
  return new URLSearchParams(hash.replace(/^#/, "")).get("token")?.trim() || undefined;
}
