/** With which other time figures are compared. */
import { addDays, addYears, dayName, fullDayName, spanDays, type Day } from "./calendar";
import { days, shiftDays, type DateRange, type Period } from "./period";

export const COMPARISONS = ["previous_period", "year_over_year"] as const;
export type Comparison = (typeof COMPARISONS)[number];

export const COMPARISON_NAMES: Readonly<Record<Comparison, string>> = {
  previous_period: "Previous period", year_over_year: "Year before",
};

export interface Compared {
  /** All of it: for the chart. */
  readonly whole: DateRange;
  /** As much of it as has passed of the period: for figures and lists. */
  readonly soFar: DateRange;
  /** Its days, for people. */
  readonly name: string;
}

const DAY_MS = 86_400_000;

/**
 * The time that a period is compared with; `undefined` where there is none. `weekdays`: moved back to the same weekdays.
 * `now` in ms, `stamp` the same on the site's clock, `YYYY-MM-DD HH:MM:SS`.
 */
export function compared(period: Period, comparison: Comparison, weekdays: boolean, now: number, stamp: string): Compared | undefined {
  const today = stamp.slice(0, 10);
  if (period.key === "24h") {
    const back = (comparison === "previous_period" ? (weekdays ? 7 : 1) : weekdays ? 364 : 365) * DAY_MS;
    const end = (Math.floor(now / 60_000) + 1) * 60_000 - back;
    const range = [new Date(end - DAY_MS).toISOString(), new Date(end).toISOString()] as const;
    return { whole: range, soFar: range, name: `24 hours to ${dayName(addDays(today, -back / DAY_MS))}` };
  }
  const range = days(period, today);
  if (!range) return undefined;
  const [from, to] = moved(range, comparison, weekdays);
  const name = from === to ? fullDayName(from) : `${dayName(from)} – ${fullDayName(to)}`;
  if (range[1] < today) return { whole: [from, to], soFar: [from, to], name };
  // What has passed of today is compared with as much of the other day; of longer ranges whole days are.
  const last = addDays(from, Math.min(spanDays(range[0], today), spanDays(from, to)) - 1);
  const soFar: DateRange = range[0] === today ? [`${from}T00:00:00`, `${from}T${stamp.slice(11, 16)}:59`] : [from, last];
  return { whole: [from, to], soFar, name };
}

function moved(range: readonly [Day, Day], comparison: Comparison, weekdays: boolean): readonly [Day, Day] {
  const [from, to] = range;
  const back = (count: number) => [addDays(from, -count), addDays(to, -count)] as const;
  if (comparison === "year_over_year") return weekdays ? back(364) : [addYears(from, -1), addYears(to, -1)];
  return weekdays ? back(Math.ceil(spanDays(from, to) / 7) * 7) : shiftDays(range, -1);
}
