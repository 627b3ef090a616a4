/** Days as `YYYY-MM-DD` strings of the site's calendar, which compare like dates and know no time zone. */
export type Day = string;

const MS_PER_DAY = 86_400_000;

/** Midnight UTC of that day: a number to calculate with, not a moment. */
const toMs = (day: Day): number => Date.parse(`${day}T00:00:00Z`);
const fromMs = (ms: number): Day => new Date(ms).toISOString().slice(0, 10);

export function isDay(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(toMs(text)) && fromMs(toMs(text)) === text;
}

export function addDays(day: Day, count: number): Day {
  return fromMs(toMs(day) + count * MS_PER_DAY);
}

/** Days from `from` to `to`, both counted. */
export function spanDays(from: Day, to: Day): number {
  return Math.round((toMs(to) - toMs(from)) / MS_PER_DAY) + 1;
}

export function startOfMonth(day: Day): Day {
  return `${day.slice(0, 7)}-01`;
}

/** First day of the month `count` months later. */
export function addMonths(day: Day, count: number): Day {
  const at = new Date(toMs(startOfMonth(day)));
  at.setUTCMonth(at.getUTCMonth() + count);
  return fromMs(at.getTime());
}

export function endOfMonth(day: Day): Day {
  return addDays(addMonths(day, 1), -1);
}

const write = (options: Intl.DateTimeFormatOptions) => {
  const format = new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" });
  return (day: Day) => format.format(toMs(day));
};
/** `Sat 21 Nov` */
export const weekdayName = write({ weekday: "short", day: "numeric", month: "short" });
/** `21 Nov` */
export const dayName = write({ day: "numeric", month: "short" });
/** `21 Nov 2026` */
export const fullDayName = write({ day: "numeric", month: "short", year: "numeric" });
/** `Nov` */
export const shortMonthName = write({ month: "short" });
/** `November 2026` */
export const monthName = write({ month: "long", year: "numeric" });
