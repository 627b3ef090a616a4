/** What is shown, as the address says it. */
import { COMPARISONS, type Comparison } from "./compare";
import { filterFrom, filterText, type Filter } from "./filters";
import { metricFrom, type Metric } from "./metrics";
import { DEFAULT_PERIOD, periodFrom, type Interval, type Period } from "./period";

export interface View {
  /** Domain or id; empty: the first site. */
  readonly site: string;
  readonly period: Period;
  readonly metric: Metric;
  /** Empty: the period's usual one. */
  readonly interval: Interval | "";
  /** Empty: with none. */
  readonly compare: Comparison | "";
  /** Whether compared days are to be the same days of the week. */
  readonly weekdays: boolean;
  /** All of them hold. */
  readonly filters: readonly Filter[];
  /** The list chosen in each panel, by key, where it is not the first. */
  readonly lists: Readonly<Record<string, string>>;
  /** The property of events that is broken down by. */
  readonly property: string;
  /** The panel whose list is shown whole. */
  readonly details: string;
  /** The figures as a table by time. */
  readonly table: boolean;
}

/** The panels whose chosen list stands in the address. */
export const PANEL_KEYS = ["sources", "pages", "places", "devices", "behaviour"] as const;

const INTERVALS: readonly string[] = ["minute", "hour", "day", "week", "month"] satisfies Interval[];
/** Filters that an address may bring. */
const MAX_FILTERS = 20;
/** Commas, slashes and colons need no escape in the part after the question mark. */
const PLAIN: readonly (readonly [RegExp, string])[] = [[/%2C/g, ","], [/%2F/g, "/"], [/%3A/g, ":"]];

export function viewFrom(search: string): View {
  const query = new URLSearchParams(search);
  const interval = query.get("interval") ?? "";
  const filters = query.getAll("f").map(filterFrom).filter((filter) => filter !== undefined);
  const lists = PANEL_KEYS.map((key) => [key, query.get(key) ?? ""] as const).filter(([, list]) => list !== "");
  return {
    site: query.get("site") ?? "",
    period: periodFrom(query.get("period"), query.get("from"), query.get("to")),
    metric: metricFrom(query.get("metric")),
    interval: INTERVALS.includes(interval) ? (interval as Interval) : "",
    compare: COMPARISONS.find((each) => each === query.get("compare")) ?? "",
    weekdays: query.get("match") === "weekdays",
    filters: filters.slice(0, MAX_FILTERS),
    lists: Object.fromEntries(lists),
    property: query.get("property") ?? "",
    details: PANEL_KEYS.find((key) => key === query.get("details")) ?? "",
    table: query.get("view") === "table",
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
  if (view.compare) query.set("compare", view.compare);
  if (view.weekdays) query.set("match", "weekdays");
  for (const filter of view.filters) query.append("f", filterText(filter));
  for (const key of PANEL_KEYS) if (view.lists[key]) query.set(key, view.lists[key]);
  if (view.property) query.set("property", view.property);
  if (view.table) query.set("view", "table");
  if (view.details) query.set("details", view.details);
  const text = PLAIN.reduce((all, [escaped, plain]) => all.replace(escaped, plain), query.toString());
  return text ? `?${text}` : "";
}

/** The pages of the dashboard, by their path. */
export type Page = "report" | "goals" | "ledger" | "rules" | "sharing";
const PAGES: readonly Page[] = ["goals", "ledger", "rules", "sharing"];

export function pageFrom(path: string): Page {
  const name = path.replace(/\/+$/, "").slice(1);
  return PAGES.find((page) => page === name) ?? "report";
}
export const pathOf = (page: Page): string => (page === "report" ? "/" : `/${page}`);

/** The secret of a public link, if the address is one. */
export const linkFrom = (path: string): string | undefined => /^\/share\/([\w-]+)\/?$/.exec(path)?.[1];

/** The token of `#token=…`, if the address brings one. */
export function tokenFrom(hash: string): string | undefined {
  return new URLSearchParams(hash.replace(/^#/, "")).get("token")?.trim() || undefined;
}
