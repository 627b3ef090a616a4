/** How numbers, durations and times are written. Everything here is in English and depends on no clock. */

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

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

export function percent(value: number): string {
  return `${Math.round(value)}%`;
}

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
