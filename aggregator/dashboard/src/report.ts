/** The figures of one view: what is asked for it, and the answers in the form in which they are shown. */
import { query, type Answer, type Site } from "./api";
import { localStamp } from "./format";
import { currentBucket, guessInterval } from "./labels";
import { METRICS, type Metric } from "./metrics";
import { dateRange, intervals, type Interval, type Period } from "./period";

export interface Series {
  readonly interval: Interval;
  readonly labels: readonly string[];
  /** Per metric as many values as labels; `null` where nothing is to be drawn: later than now, or nothing to average. */
  readonly values: Readonly<Record<Metric, readonly (number | null)[]>>;
  /** Position of the bucket that is still filling, −1 if there is none. */
  readonly current: number;
}

export interface Report {
  /** Which question this answers. */
  readonly site: number;
  readonly period: Period;
  readonly totals: Readonly<Record<Metric, number | null>>;
  readonly series: Series;
}

export interface ReportRequest {
  readonly site: Site;
  readonly period: Period;
  readonly interval: Interval | "";
}

export async function fetchReport(request: ReportRequest, signal: AbortSignal): Promise<Report> {
  const { site, period } = request;
  const now = Date.now();
  const stamp = localStamp(now, site.timezone);
  const today = stamp.slice(0, 10);
  const range = dateRange(period, now, today);
  const choices = intervals(period);
  const chosen = choices.find((interval) => interval === request.interval) ?? choices[0];
  // Over all time nobody knows beforehand how long that is.
  const step = period.key === "all" && request.interval === "" ? "time" : `time:${chosen}`;
  const base = { site_id: site.id, metrics: METRICS, date_range: range };

  const [totals, series] = await Promise.all([
    query(base, signal),
    query({ ...base, dimensions: [step], include: { time_labels: true } }, signal),
  ]);

  const row = totals.results[0]?.metrics ?? [];
  return {
    site: site.id,
    period,
    totals: Object.fromEntries(METRICS.map((metric, index) => [metric, row[index] ?? null])) as Report["totals"],
    series: readSeries(series, stamp, step === "time" ? undefined : chosen),
  };
}

/** `stamp`: now on the site's clock. `interval`: the one asked for, if it was. */
export function readSeries(answer: Answer, stamp: string, interval: Interval | undefined): Series {
  const rows = new Map(answer.results.map(({ dimensions, metrics }) => [dimensions[0] ?? "", metrics]));
  const labels = answer.meta.time_labels ?? [...rows.keys()].sort();
  const now = currentBucket(labels, stamp);
  const values = Object.fromEntries(
    METRICS.map((metric, index) => [
      metric,
      labels.map((label, at) => {
        if (at > now) return null;
        const visits = rows.get(label)?.[METRICS.indexOf("visits")] ?? 0;
        const empty = metric === "bounce_rate" || metric === "visit_duration" ? visits === 0 : false;
        return empty ? null : (rows.get(label)?.[index] ?? 0);
      }),
    ]),
  ) as unknown as Series["values"];
  const step = interval ?? guessInterval(labels);
  return { interval: step, labels, values, current: isCurrent(labels[now], stamp, step) ? now : -1 };
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
  return (answer.results[0]?.metrics[0] ?? 0) > 0;
}
