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

/** The same day so many years later; 29 February becomes the 28th where there is none. */
export function addYears(day: Day, count: number): Day {
  const moved = `${String(Number(day.slice(0, 4)) + count).padStart(4, "0")}${day.slice(4)}`;
  return isDay(moved) ? moved : `${moved.slice(0, 8)}28`;
}

export function endOfMonth(day: Day): Day {
  return addDays(addMonths(day, 1), -1);
}

// Written out, since what `Intl` makes of "short" differs between browsers.
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = [
  "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
];
const date = (day: Day): string => String(Number(day.slice(8, 10)));
const year = (day: Day): string => day.slice(0, 4);
const month = (day: Day): string => MONTHS[Number(day.slice(5, 7)) - 1] ?? "";

/** `Nov` */
export const shortMonthName = (day: Day): string => month(day).slice(0, 3);
/** `November 2026` */
export const monthName = (day: Day): string => `${month(day)} ${year(day)}`;
/** `21 Nov` */
export const dayName = (day: Day): string => `${date(day)} ${shortMonthName(day)}`;
/** `21 Nov 2026` */
export const fullDayName = (day: Day): string => `${dayName(day)} ${year(day)}`;
/** `Sat 21 Nov` */
export const weekdayName = (day: Day): string => `${WEEKDAYS[new Date(toMs(day)).getUTCDay()] ?? ""} ${dayName(day)}`;
