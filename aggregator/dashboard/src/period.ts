/** Which stretch of time is shown, in what steps, and what the API is asked for it. */
import { addDays, addMonths, endOfMonth, fullDayName, isDay, monthName, spanDays, startOfMonth, weekdayName, type Day } from "./calendar";

export type PeriodKey =
  | "realtime" | "day" | "yesterday" | "24h" | "7d" | "28d" | "30d" | "91d"
  | "month" | "lastmonth" | "6mo" | "year" | "12mo" | "all" | "custom";

export interface Period {
  readonly key: PeriodKey;
  /** Of `custom` only: first and last day. */
  readonly from?: Day;
  readonly to?: Day;
}

export type Interval = "minute" | "hour" | "day" | "week" | "month";

export interface PeriodInfo {
  readonly key: PeriodKey;
  readonly name: string;
  /** The letter that chooses it. */
  readonly shortcut: string;
  /** Which part of the menu it stands in. */
  readonly group: number;
}

/** In the order of the menu. The letters are those that people know from elsewhere. */
export const PERIODS: readonly PeriodInfo[] = [
  { key: "realtime", name: "Last 30 minutes", shortcut: "R", group: 0 },
  { key: "day", name: "Today", shortcut: "D", group: 0 },
  { key: "yesterday", name: "Yesterday", shortcut: "E", group: 0 },
  { key: "24h", name: "Last 24 hours", shortcut: "H", group: 0 },
  { key: "7d", name: "Last 7 days", shortcut: "W", group: 1 },
  { key: "28d", name: "Last 28 days", shortcut: "F", group: 1 },
  { key: "30d", name: "Last 30 days", shortcut: "T", group: 1 },
  { key: "91d", name: "Last 91 days", shortcut: "N", group: 1 },
  { key: "month", name: "Month to date", shortcut: "M", group: 2 },
  { key: "lastmonth", name: "Last month", shortcut: "P", group: 2 },
  { key: "year", name: "Year to date", shortcut: "Y", group: 2 },
  { key: "6mo", name: "Last 6 months", shortcut: "S", group: 2 },
  { key: "12mo", name: "Last 12 months", shortcut: "L", group: 2 },
  { key: "all", name: "All time", shortcut: "A", group: 3 },
  { key: "custom", name: "Custom range…", shortcut: "C", group: 3 },
];

export const DEFAULT_PERIOD: Period = { key: "day" };
const REALTIME_MINUTES = 30;

export function periodFrom(key: string | null, from: string | null, to: string | null): Period {
  if (key === "custom") {
    return from && to && isDay(from) && isDay(to) && from <= to ? { key, from, to } : DEFAULT_PERIOD;
  }
  const known = PERIODS.find((info) => info.key === key);
  return known ? { key: known.key } : DEFAULT_PERIOD;
}

/** Days the API is asked for, where it has no word of its own for the period. */
function explicitDays(period: Period, today: Day): readonly [Day, Day] | undefined {
  switch (period.key) {
    case "yesterday":
      return [addDays(today, -1), addDays(today, -1)];
    case "lastmonth":
      return [addMonths(today, -1), endOfMonth(addMonths(today, -1))];
    case "custom":
      return [period.from ?? today, period.to ?? today];
    default:
      return undefined;
  }
}

export type DateRange = string | readonly [string, string];

/** `date_range` of a query. `now` in ms, `today` on the site's calendar. */
export function dateRange(period: Period, now: number, today: Day): DateRange {
  if (period.key === "realtime") {
    const minute = Math.floor(now / 60_000) * 60_000;
    const iso = (ms: number) => new Date(ms).toISOString().replace(".000Z", "Z");
    return [iso(minute - (REALTIME_MINUTES - 1) * 60_000), iso(minute + 59_000)];
  }
  return explicitDays(period, today) ?? period.key;
}

/** Steps that make sense for the period, the usual one first. */
export function intervals(period: Period): readonly Interval[] {
  switch (period.key) {
    case "realtime":
      return ["minute"];
    case "day":
    case "yesterday":
    case "24h":
      return ["hour"];
    case "7d":
      return ["day", "hour"];
    case "28d":
    case "30d":
    case "month":
    case "lastmonth":
      return ["day", "week"];
    case "91d":
      return ["week", "day", "month"];
    case "6mo":
    case "year":
    case "12mo":
      return ["month", "week", "day"];
    case "all":
      return ["month", "week", "day"];
    case "custom": {
      const days = spanDays(period.from ?? "", period.to ?? "");
      if (days <= 1) return ["hour"];
      if (days <= 7) return ["day", "hour"];
      if (days <= 62) return ["day", "week"];
      return days <= 200 ? ["week", "day", "month"] : ["month", "week", "day"];
    }
  }
}

/** Whether what happens now can change the figures. */
export function includesNow(period: Period, today: Day): boolean {
  switch (period.key) {
    case "realtime": case "day": case "24h": case "month": case "year": case "all":
      return true;
    case "custom":
      return (period.to ?? today) >= today;
    default:
      return false;
  }
}

/** First and last day shown, where the period is made of days that can be told without asking. */
export function days(period: Period, today: Day): readonly [Day, Day] | undefined {
  const back = (count: number) => [addDays(today, -count), addDays(today, -1)] as const;
  switch (period.key) {
    case "day":
      return [today, today];
    case "7d":
      return back(7);
    case "28d":
      return back(28);
    case "30d":
      return back(30);
    case "91d":
      return back(91);
    case "month":
      return [startOfMonth(today), endOfMonth(today)];
    case "year":
      return [`${today.slice(0, 4)}-01-01`, `${today.slice(0, 4)}-12-31`];
    case "6mo":
      return [addMonths(today, -6), addDays(startOfMonth(today), -1)];
    case "12mo":
      return [addMonths(today, -12), addDays(startOfMonth(today), -1)];
    default:
      return explicitDays(period, today);
  }
}

/** A range of days under the name it has, if it has one. */
function named(from: Day, to: Day, today: Day): Period {
  for (const key of ["day", "yesterday", "month", "lastmonth", "year", "7d", "28d", "30d", "91d", "6mo", "12mo"] as const) {
    const range = days({ key }, today);
    if (range && range[0] === from && range[1] === to) return { key };
  }
  return { key: "custom", from, to };
}

/** The days before (−1) or after (1): as many whole months, where it is made of these, else as many days. */
export function shiftDays([from, to]: readonly [Day, Day], by: -1 | 1): readonly [Day, Day] {
  if (from === startOfMonth(from) && to === endOfMonth(to)) {
    const months = (Number(to.slice(0, 4)) - Number(from.slice(0, 4))) * 12 + Number(to.slice(5, 7)) - Number(from.slice(5, 7)) + 1;
    return [addMonths(from, by * months), endOfMonth(addMonths(to, by * months))];
  }
  const count = spanDays(from, to);
  return [addDays(from, by * count), addDays(to, by * count)];
}

/** The stretch before (−1) or after (1) of the same kind; `undefined` where there is none. */
export function shift(period: Period, by: -1 | 1, today: Day): Period | undefined {
  const range = days(period, today);
  if (!range) return undefined;
  const [from, to] = shiftDays(range, by);
  return from > today ? undefined : named(from, to, today);
}

/** What the period is called, with its dates where its name has none. */
export function periodName(period: Period): string {
  if (period.key !== "custom" || !period.from || !period.to) {
    return PERIODS.find((info) => info.key === period.key)?.name ?? period.key;
  }
  const { from, to } = period;
  if (from === to) return `${weekdayName(from)} ${from.slice(0, 4)}`;
  if (from === startOfMonth(from) && to === endOfMonth(from)) return monthName(from);
  if (from.endsWith("-01-01") && to === `${from.slice(0, 4)}-12-31`) return from.slice(0, 4);
  return `${fullDayName(from)} – ${fullDayName(to)}`;
}
