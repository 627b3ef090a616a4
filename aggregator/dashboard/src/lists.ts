/** The lists under the chart: by what the visits of a period are broken down, and the answers as they are shown. */
import { query, type Answer, type Site } from "./api";
import { fullNumber, localStamp, percent, shortNumber } from "./format";
import { dateRange, listsPeriod, type Period } from "./period";

/** A column of figures. */
export interface Column {
  readonly metric: string;
  readonly name: string;
  readonly short: (value: number) => string;
  readonly full: (value: number) => string;
}

/** One list. Of several in a panel one is shown. */
export interface List {
  readonly key: string;
  /** On its tab. */
  readonly tab: string;
  readonly title: string;
  readonly dimension: string;
  /** Heads the column of values. */
  readonly value: string;
  readonly columns: readonly Column[];
  /** How a value is written. */
  readonly label: (value: string) => string;
  /** What is said where there is none. */
  readonly nothing: string;
}

export interface Panel {
  readonly key: string;
  readonly lists: readonly [List, ...List[]];
}

export interface ListRow {
  readonly label: string;
  readonly figures: readonly (number | null)[];
}

export interface ListAnswer {
  /** Which question this answers. */
  readonly site: number;
  readonly list: string;
  readonly period: Period;
  /** Period of the rows, if it is another. */
  readonly rowsPeriod: Period;
  readonly rows: readonly ListRow[];
  readonly total: number;
}

const count = (metric: string, name: string): Column => ({ metric, name, short: shortNumber, full: fullNumber });
const visitors = count("visitors", "Visitors");
const bounces: Column = { metric: "bounce_rate", name: "Bounce", short: percent, full: percent };
const ofVisits = [visitors, count("visits", "Visits"), bounces];

const UNSET = "(not set)";
const otherwise = (text: string) => (value: string) => (value === UNSET ? text : value);

let regions: Intl.DisplayNames | undefined;

/** English name of a country by its two letters. */
export function countryName(code: string): string {
  if (code === UNSET) return "Unknown";
  try {
    regions ??= new Intl.DisplayNames("en", { type: "region" });
    return regions.of(code) ?? code;
  } catch {
    return code; // no code, as "(other)"
  }
}

type Shape = Pick<List, "key" | "tab" | "title" | "value"> & Partial<List>;

const byVisits = (list: Shape): List => ({
  dimension: `visit:${list.key}`,
  columns: ofVisits,
  label: otherwise("Unknown"),
  nothing: "No visit began in this period.",
  ...list,
});

export const PANELS: readonly Panel[] = [
  {
    key: "sources",
    lists: [
      byVisits({ key: "source", tab: "Sources", title: "Top sources", value: "Source" }),
      byVisits({ key: "channel", tab: "Channels", title: "Top channels", value: "Channel" }),
      byVisits({ key: "utm_campaign", tab: "Campaigns", title: "Top campaigns", value: "Campaign", label: otherwise("No campaign") }),
    ],
  },
  {
    key: "pages",
    lists: [
      {
        key: "page", tab: "Pages", title: "Top pages", value: "Page", dimension: "event:page",
        columns: [visitors, count("pageviews", "Views"), bounces], label: (value) => value, nothing: "No page was viewed in this period.",
      },
      byVisits({
        key: "entry_page", tab: "Entry", title: "Entry pages", value: "First page", label: otherwise("No page viewed"),
        columns: [visitors, count("visits", "Entries"), bounces],
      }),
      byVisits({
        key: "exit_page", tab: "Exit", title: "Exit pages", value: "Last page", label: otherwise("No page viewed"),
        columns: [visitors, count("visits", "Exits")],
      }),
    ],
  },
  { key: "places", lists: [byVisits({ key: "country", tab: "Countries", title: "Countries", value: "Country", label: countryName })] },
  {
    key: "devices",
    lists: [
      byVisits({ key: "device", tab: "Devices", title: "Devices", value: "Device" }),
      byVisits({ key: "browser", tab: "Browsers", title: "Browsers", value: "Browser" }),
      byVisits({ key: "os", tab: "Systems", title: "Operating systems", value: "System" }),
    ],
  },
  {
    key: "events",
    lists: [
      {
        key: "name", tab: "Events", title: "Events", value: "Event", dimension: "event:name",
        columns: [visitors, count("events", "Events")], label: (value) => value, nothing: "Nothing happened in this period.",
      },
    ],
  },
];

export async function fetchList(site: Site, period: Period, list: List, limit: number, signal: AbortSignal): Promise<ListAnswer> {
  const now = Date.now();
  const today = localStamp(now, site.timezone).slice(0, 10);
  const rowsPeriod = listsPeriod(period);
  const answer = await query(
    {
      site_id: site.id,
      metrics: list.columns.map(({ metric }) => metric),
      date_range: dateRange(rowsPeriod, now, today),
      dimensions: [list.dimension],
      include: { total_rows: true },
      pagination: { limit, offset: 0 },
    },
    signal,
  );
  return { site: site.id, list: list.key, period, rowsPeriod, ...readList(answer, list) };
}

export function readList(answer: Answer, list: List): Pick<ListAnswer, "rows" | "total"> {
  return {
    rows: answer.results.map(({ dimensions: [value], metrics }) => ({
      label: list.label(value ?? ""),
      figures: list.columns.map((_, at) => metrics[at] ?? null),
    })),
    total: answer.meta.total_rows ?? answer.results.length,
  };
}
