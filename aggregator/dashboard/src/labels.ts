/**
 * Time labels as the API gives them (`2026-11-21`, `2026-11-21 14:00:00`, possibly with an offset where an hour comes twice),
 * read as text: they are already on the site's clock.
 */
import { dayName, fullDayName, monthName, shortMonthName, spanDays, weekdayName } from "./calendar";
import type { Interval } from "./period";

/** Position of the bucket that is going on at `nowStamp` (`YYYY-MM-DD HH:MM:SS`, site's clock), −1 if all begin later. */
export function currentBucket(labels: readonly string[], nowStamp: string): number {
  let low = 0;
  let high = labels.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const label = labels[middle] ?? "";
    if (label.slice(0, 19).replace("T", " ") <= nowStamp.slice(0, Math.min(19, label.length))) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** What step lies between labels, when the API was left to choose. */
export function guessInterval(labels: readonly string[]): Interval {
  const [first, second, third] = labels;
  if (!first || !second) return first && first.length > 10 ? "hour" : "day";
  if (first.length > 10) return first.slice(0, 13) === second.slice(0, 13) ? "minute" : "hour";
  // The first week of a range may be a short one.
  const days = spanDays((third ? second : first).slice(0, 10), (third ?? second).slice(0, 10)) - 1;
  return days <= 1 ? "day" : days <= 7 ? "week" : "month";
}

/** For an axis: short. */
export function axisLabel(label: string, interval: Interval, spansDays: boolean): string {
  const day = label.slice(0, 10);
  switch (interval) {
    case "minute":
      return label.slice(11, 16);
    case "hour":
      return spansDays && label.slice(11, 13) === "00" ? dayName(day) : label.slice(11, 16);
    case "day":
    case "week":
      return dayName(day);
    case "month":
      return label.slice(5, 7) === "01" ? label.slice(0, 4) : shortMonthName(day);
  }
}

/** For a tooltip or a table: complete. */
export function fullLabel(label: string, interval: Interval): string {
  const day = label.slice(0, 10);
  switch (interval) {
    case "minute":
      return `${weekdayName(day)}, ${label.slice(11, 16)}`;
    case "hour":
      return `${weekdayName(day)}, ${label.slice(11, 16)}${offset(label)}`;
    case "day":
      return `${weekdayName(day)} ${day.slice(0, 4)}`;
    case "week":
      return `Week of ${fullDayName(day)}`;
    case "month":
      return monthName(day);
  }
}

/** ` (+02:00)`, where the API adds it because an hour comes twice. */
function offset(label: string): string {
  const found = /[+-]\d{2}:?\d{2}$|Z$/.exec(label.slice(19));
  return found ? ` (${found[0]})` : "";
}
