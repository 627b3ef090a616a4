/** From one view to another. What changes the question is a step of the browser's history, what only changes its look is not. */
import type { Comparison } from "./compare";
import { toggled, put, type Filter } from "./filters";
import { SEGMENT } from "./dimensions";
import type { Metric } from "./metrics";
import { intervals, shift, type Interval, type Period } from "./period";
import { page, report, show, site, today, view } from "./state";
import { pathOf, searchOf, type Page, type View } from "./url";

const push = (change: Partial<View>): void => show({ ...view.value, ...change }, "push");
const replace = (change: Partial<View>): void => show({ ...view.value, ...change }, "replace");

/** The address of this view with something else in it. */
export const addressOf = (change: Partial<View>): string => location.pathname + searchOf({ ...view.value, ...change });

/** Shows another page of the same site. */
export function choosePage(next: Page): void {
  if (next === page.value) return;
  history.pushState(null, "", pathOf(next) + searchOf(view.value));
  page.value = next;
}

/** What another site has no meaning for stays behind. */
export function chooseSite(domain: string): void {
  if (domain !== site.value?.domain) push({ site: domain, filters: view.value.filters.filter(({ dimension }) => dimension !== SEGMENT), details: "" });
}

export const choosePeriod = (period: Period): void => push({ period, interval: "" });

export function shiftPeriod(by: -1 | 1): void {
  const next = shift(view.value.period, by, today());
  if (next) push({ period: next });
}

export const chooseMetric = (metric: Metric): void => replace({ metric });
export const chooseInterval = (interval: Interval): void => replace({ interval });
export const chooseTable = (table: boolean): void => replace({ table });

/** The next of the steps that the period can be shown in. */
export function nextInterval(): void {
  const choices = intervals(view.value.period);
  const at = choices.findIndex((each) => each === (report.value?.series.interval ?? view.value.interval));
  const next = choices[(at + 1) % choices.length];
  if (next && choices.length > 1) chooseInterval(next);
}

export const chooseComparison = (compare: Comparison | "", weekdays = view.value.weekdays): void => push({ compare, weekdays: compare !== "" && weekdays });
/** Compares with the period before, or no more. */
export const toggleComparison = (): void => chooseComparison(view.value.compare ? "" : "previous_period");

export const chooseFilters = (filters: readonly Filter[]): void => push({ filters });
export const putFilter = (at: number, filter: Filter | undefined): void => chooseFilters(put(view.value.filters, at, filter));
export const toggleFilter = (dimension: string, value: string, add: boolean): void =>
  push({ filters: toggled(view.value.filters, dimension, value, add), details: "" });

export function clearFilters(): void {
  if (view.value.filters.length > 0) chooseFilters([]);
}

export const chooseList = (panel: string, list: string): void => replace({ lists: { ...view.value.lists, [panel]: list } });
export const chooseProperty = (property: string): void => replace({ property });
export const openDetails = (panel: string): void => push({ details: panel });
export const closeDetails = (): void => push({ details: "" });
