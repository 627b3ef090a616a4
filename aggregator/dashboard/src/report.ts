/** The figures of one view: what is asked for it, and the answers in the form in which they are shown. */
import { amount, currencyOf, query, type Answer, type Site, type Source } from "./api";
import { compared, type Comparison } from "./compare";
import { toApi, type Filter } from "./filters";
import { localStamp } from "./format";
import { currentBucket, guessInterval } from "./labels";
import { figuresOf, METRIC_INFO, type Metric } from "./metrics";
import { dateRange, intervals, type DateRange, type Interval, type Period } from "./period";

/** What is asked: one view of one site. */
export interface ReportRequest {
  readonly site: Site;
  readonly period: Period;
  readonly interval: Interval | "";
  readonly metric: Metric;
  readonly filters: readonly Filter[];
  readonly compare: Comparison | "";
  readonly weekdays: boolean;
}

/** Values by metric, as many as there are labels; `null` where nothing is to be drawn: later than now, or nothing to average. */
export type Values = Readonly<Partial<Record<Metric, readonly (number | null)[]>>>;

export interface Series {
  readonly interval: Interval;
  readonly labels: readonly string[];
  readonly values: Values;
  /** Position of the bucket that is still filling, −1 if there is none. */
  readonly current: number;
  /** The same of the time that is compared with, bucket by bucket. */
  readonly before?: { readonly labels: readonly string[]; readonly values: Values };
}

export interface Total {
  readonly value: number | null;
  /** Of the time that is compared with; there only if there is one. */
  readonly before?: number | null;
  /** By how many percent it changed, or points. */
  readonly change?: number | null;
}

export interface Report {
  /** Which question this answers. */
  readonly site: number;
  readonly period: Period;
  readonly question: string;
  readonly figures: readonly Metric[];
  readonly totals: Readonly<Partial<Record<Metric, Total>>>;
  readonly currency: string;
  readonly series: Series;
  /** What is compared with, in words. */
  readonly comparedName: string;
  readonly source: Source | undefined;
}

/** What a report depends on, apart from time. */
export const questionOf = ({ site, period, filters, compare, weekdays }: ReportRequest): string =>
  JSON.stringify([site.id, period, filters, compare, weekdays]);

export async function fetchReport(request: ReportRequest, signal: AbortSignal): Promise<Report> {
  const { site, period, compare } = request;
  const now = Date.now();
  const stamp = localStamp(now, site.timezone);
  const figures = figuresOf(request.filters, period.key);
  const choices = intervals(period);
  const chosen = choices.find((interval) => interval === request.interval) ?? choices[0] ?? "day";
  // Over all time nobody knows beforehand how long that is.
  const step = period.key === "all" && request.interval === "" ? "time" : `time:${chosen}`;
  const other = compare ? compared(period, compare, request.weekdays, now, stamp) : undefined;
  const base = { site_id: site.id, filters: toApi(request.filters) };
  const range = dateRange(period, now, stamp.slice(0, 10));
  const metrics = seriesMetrics(figures, request.metric, chosen);
  const course = (date_range: DateRange) =>
    query({ ...base, metrics, date_range, dimensions: [step], include: { time_labels: true } }, signal);

  const [totals, series, before] = await Promise.all([
    query({
      ...base, metrics: figures, date_range: range,
      include: { source: true, ...(other && { comparisons: { mode: "custom" as const, date_range: other.soFar } }) },
    }, signal),
    course(range),
    other && course(other.whole),
  ]);

  const [row] = totals.results;
  return {
    site: site.id,
    period,
    question: questionOf(request),
    figures,
    totals: Object.fromEntries(figures.map((metric, at) => [metric, {
      value: amount(row?.metrics[at]),
      ...(row?.comparison && { before: amount(row.comparison.metrics[at]), change: amount(row.comparison.change[at]) }),
    }])),
    currency: currencyOf(totals) ?? site.currency,
    series: {
      ...readSeries(series, metrics, stamp, step === "time" ? undefined : chosen),
      ...(before && { before: readBefore(before, metrics) }),
    },
    comparedName: other?.name ?? "",
    source: totals.meta.source,
  };
}

/** Who is new is told by whole days; of hours it would have to be found in events, so only if it is asked for. */
function seriesMetrics(figures: readonly Metric[], chosen: Metric, interval: Interval): readonly Metric[] {
  const fine = interval === "hour" || interval === "minute";
  return figures.filter((metric) => metric === chosen || !(fine && metric === "new_visitors"));
}

/** `stamp`: now on the site's clock. `interval`: the one asked for, if it was. */
export function readSeries(answer: Answer, metrics: readonly Metric[], stamp: string, interval: Interval | undefined): Series {
  const labels = labelsOf(answer);
  const now = currentBucket(labels, stamp);
  const step = interval ?? guessInterval(labels);
  const current = isCurrent(labels[now], stamp, step) ? now : -1;
  return { interval: step, labels, values: valuesOf(answer, metrics, labels, now), current };
}

const readBefore = (answer: Answer, metrics: readonly Metric[]) => {
  const labels = labelsOf(answer);
  return { labels, values: valuesOf(answer, metrics, labels, labels.length) };
};

const labelsOf = ({ meta, results }: Answer): readonly string[] =>
  meta.time_labels ?? results.map(({ dimensions }) => dimensions[0] ?? "").sort();

/** The values of each bucket up to `last`; buckets that are not in the answer are empty. */
function valuesOf(answer: Answer, metrics: readonly Metric[], labels: readonly string[], last: number): Values {
  const rows = new Map(answer.results.map(({ dimensions, metrics: figures }) => [dimensions[0] ?? "", figures]));
  const visits = metrics.indexOf("visits");
  return Object.fromEntries(metrics.map((metric, index) => [metric, labels.map((label, at) => {
    if (at > last) return null;
    const row = rows.get(label);
    if (METRIC_INFO[metric].average && !(visits >= 0 ? amount(row?.[visits]) : row)) return null;
    return amount(row?.[index]) ?? (METRIC_INFO[metric].average ? null : 0);
  })]));
}

/** Whether the bucket that begins at `label` is not over at `stamp`. */
function isCurrent(label: string | undefined, stamp: string, interval: Interval): boolean {
  if (!label) return false;
  const same = { minute: 16, hour: 13, day: 10, week: 0, month: 7 }[interval];
  if (same > 0) return label.slice(0, same) === stamp.slice(0, same);
  return Date.parse(`${stamp.slice(0, 10)}T00:00:00Z`) - Date.parse(`${label.slice(0, 10)}T00:00:00Z`) < 7 * 86_400_000;
}

/** Whether the site ever had an event. */
export async function everSeen(site: Site, signal: AbortSignal): Promise<boolean> {
  const answer = await query({ site_id: site.id, metrics: ["events"], date_range: "all" }, signal);
  return (amount(answer.results[0]?.metrics[0]) ?? 0) > 0;
}
