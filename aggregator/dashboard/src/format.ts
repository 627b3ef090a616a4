/** How numbers, durations and times are written. Everything here is in English and depends on no clock. */

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

/** All digits: `12,345`. */
export function fullNumber(value: number): string {
  return whole.format(value);
}

/** At most four characters and a unit: `999`, `1.2k`, `12.3k`, `123k`, `1.2M`. Never rounds up into the next unit's look (`1000k`). */
export function shortNumber(value: number): string {
  const size = Math.abs(value);
  if (size < 1000) return whole.format(value);
  for (const [unit, scale] of [["k", 1e3], ["M", 1e6], ["B", 1e9]] as const) {
    const scaled = size / scale;
    // 999,950 would print as 1000k: it is 1M.
    if (scaled < 999.5 || unit === "B") {
      const digits = scaled < 99.95 ? 1 : 0;
      return `${value < 0 ? "−" : ""}${scaled.toFixed(digits).replace(/\.0$/, "")}${unit}`;
    }
  }
  return whole.format(value);
}

/** Seconds as `0s`, `45s`, `2m 05s`, `1h 02m`. */
export function duration(seconds: number): string {
  const total = Math.max(0, Math.round(seconds));
  const two = (value: number) => String(value).padStart(2, "0");
  if (total < 60) return `${total}s`;
  if (total < 3600) return `${Math.floor(total / 60)}m ${two(total % 60)}s`;
  return `${Math.floor(total / 3600)}h ${two(Math.floor((total % 3600) / 60))}m`;
}

/** Whole percent, with one decimal below ten: `3.4%`, `57%`. */
export function percent(value: number): string {
  return `${Math.abs(value) < 9.95 ? Math.round(value * 10) / 10 : Math.round(value)}%`;
}

/** A change by so many percent, or points: `+12%`, `−3%`, `0%`, `+2 pt`. */
export function changeText(value: number, points: boolean): string {
  const size = points ? tenths.format(Math.abs(value)) : shortNumber(Math.abs(value));
  const sign = size === "0" ? "" : value > 0 ? "+" : "−";
  return `${sign}${size}${points ? " pt" : "%"}`;
}

const currencies = new Map<string, Intl.NumberFormat>();

function inCurrency(value: number, currency: string, compact: boolean): string {
  const id = `${currency} ${compact}`;
  let found = currencies.get(id);
  if (!found) {
    const options: Intl.NumberFormatOptions = compact ? { notation: "compact", maximumSignificantDigits: 3 } : {};
    try {
      found = new Intl.NumberFormat("en-US", { ...options, style: "currency", currency, currencyDisplay: "narrowSymbol" });
    } catch {
      found = new Intl.NumberFormat("en-US", options); // no currency's code
    }
    currencies.set(id, found);
  }
  return found.format(value);
}

/** `€1.23K`; of small amounts all digits. */
export const moneyShort = (value: number, currency: string): string => inCurrency(value, currency, Math.abs(value) >= 1000);
/** `€1,234.50` */
export const moneyFull = (value: number, currency: string): string => inCurrency(value, currency, false);

const clocks = new Map<string, Intl.DateTimeFormat>();

function formatter(timezone: string, key: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const id = `${key} ${timezone}`;
  let found = clocks.get(id);
  if (!found) {
    try {
      found = new Intl.DateTimeFormat("en-GB", { ...options, timeZone: timezone });
    } catch {
      found = new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" }); // a zone this browser doesn't know
    }
    clocks.set(id, found);
  }
  return found;
}

/** `14:03:09` on the site's clock. */
export function clock(ms: number, timezone: string): string {
  return formatter(timezone, "clock", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(ms);
}

/** `2026-11-21 14:03:09` on the site's clock: the form in which the API labels hours and minutes. */
export function localStamp(ms: number, timezone: string): string {
  const parts = formatter(timezone, "stamp", {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  }).formatToParts(ms);
  const part = (type: Intl.DateTimeFormatPartTypes) => parts.find((each) => each.type === type)?.value ?? "";
  return `${part("year")}-${part("month")}-${part("day")} ${part("hour")}:${part("minute")}:${part("second")}`;
}

/** How long ago or how late, roughly: `12s`, `4m`, `3h`, `2d`. */
export function roughly(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)}h`;
  return `${Math.round(seconds / 86_400)}d`;
}

/** `page_view` or `EVENT_TYPE_PAGE_VIEW` as `Page view`. */
export function eventTypeName(type: string): string {
  const words = type.replace(/^EVENT_TYPE_/, "").toLowerCase().replaceAll("_", " ");
  return words === "" ? "Unreadable" : words.charAt(0).toUpperCase() + words.slice(1);
}
