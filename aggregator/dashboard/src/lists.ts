/** The lists under the chart: by what visits and events are broken down, and the answers as they are shown. */
import { amount, currencyOf, query, type Answer, type Query, type Site } from "./api";
import { compared, type Comparison } from "./compare";
import { propertyDimension, valueLabel } from "./dimensions";
import { onlyValue, speaksOf, toApi, type ApiFilter, type Filter } from "./filters";
import { localStamp } from "./format";
import { METRIC_INFO, type Metric } from "./metrics";
import { dateRange, type Period } from "./period";

/** A column of figures. */
export interface Column {
  readonly metric: Metric;
  readonly name: string;
}

/** One list. Of several in a panel one is shown. */
export interface List {
  readonly key: string;
  /** On its tab; lists of one group share a tab of the group's name. */
  readonly tab: string;
  readonly group?: string;
  readonly title: string;
  readonly dimension: string;
  /** Heads the column of values. */
  readonly value: string;
  readonly columns: readonly Column[];
  /** Columns that are shown only where there is room. */
  readonly further?: readonly Column[];
  /** Which events it is of, if not of all. */
  readonly where?: readonly ApiFilter[];
  /** What is said where there is none. */
  readonly nothing: string;
}

export interface Panel {
  readonly key: string;
  readonly lists: readonly [List, ...List[]];
}

export interface ListRow {
  /** As the API has it, to filter by. */
  readonly value: string;
  readonly label: string;
  readonly figures: readonly (number | null)[];
  /** By how much each figure changed, if it is compared; `null` where there was nothing before. */
  readonly change?: readonly (number | null)[];
}

export interface ListRequest {
  readonly site: Site;
  readonly period: Period;
  readonly filters: readonly Filter[];
  readonly compare: Comparison | "";
  readonly weekdays: boolean;
  readonly property: string;
}

export interface ListAnswer {
  /** Which question this answers. */
  readonly site: number;
  readonly list: string;
  readonly dimension: string;
  readonly columns: readonly Column[];
  readonly rows: readonly ListRow[];
  readonly total: number;
  readonly currency: string;
}

const column = (metric: Metric, name = METRIC_INFO[metric].name): Column => ({ metric, name });
const visitors = column("visitors");
const bounces = column("bounce_rate", "Bounce");
const revenue = column("total_revenue");
const events = column("events");
const ofVisits = [visitors, column("visits"), bounces];
const moreOfVisits = [column("views_per_visit", "Views/visit"), column("visit_duration", "Duration"), column("orders"), revenue];

type Shape = Pick<List, "key" | "tab" | "title" | "value"> & Partial<List>;

const byVisits = (list: Shape): List => ({
  dimension: `visit:${list.key}`, columns: ofVisits, further: moreOfVisits, nothing: "No visit began in this period.", ...list,
});
const campaign = (key: string, name: string): List =>
  byVisits({ key, tab: name, group: "Campaigns", title: `Campaigns by ${name.toLowerCase()}`, value: name });
const byEvents = (list: Shape & Pick<List, "dimension" | "nothing">): List => ({ columns: [visitors, events], ...list });
/** Events under the names that the SDK and other trackers give them. */
const named = (...names: string[]): readonly ApiFilter[] => [["is", "event:name", names]];

export const PROPERTY_LIST = "property";

export const PANELS: readonly Panel[] = [
  {
    key: "sources",
    lists: [
      byVisits({ key: "source", tab: "Sources", title: "Top sources", value: "Source" }),
      byVisits({ key: "channel", tab: "Channels", title: "Top channels", value: "Channel" }),
      byVisits({ key: "referrer", tab: "Referrers", title: "Top referrers", value: "Referrer" }),
      campaign("utm_campaign", "Campaign"), campaign("utm_source", "Source"), campaign("utm_medium", "Medium"),
      campaign("utm_content", "Content"), campaign("utm_term", "Term"),
    ],
  },
  {
    key: "pages",
    lists: [
      {
        key: "page", tab: "Pages", title: "Top pages", value: "Page", dimension: "event:page", nothing: "No page was viewed in this period.",
        columns: [visitors, column("pageviews", "Views"), bounces], further: [column("time_on_page", "Time on page"), column("scroll_depth", "Scroll")],
      },
      byVisits({
        key: "entry_page", tab: "Entry", title: "Entry pages", value: "First page", columns: [visitors, column("visits", "Entries"), bounces],
      }),
      byVisits({
        key: "exit_page", tab: "Exit", title: "Exit pages", value: "Last page", columns: [visitors, column("visits", "Exits")], further: [],
      }),
    ],
  },
  {
    key: "places",
    lists: [
      byVisits({ key: "country", tab: "Countries", title: "Countries", value: "Country" }),
      byVisits({ key: "region", tab: "Regions", title: "Regions", value: "Region" }),
      byVisits({ key: "city", tab: "Cities", title: "Cities", value: "City" }),
    ],
  },
  {
    key: "devices",
    lists: [
      byVisits({ key: "device", tab: "Devices", title: "Devices", value: "Device" }),
      byVisits({ key: "browser", tab: "Browsers", title: "Browsers", value: "Browser" }),
      byVisits({ key: "os", tab: "Systems", title: "Operating systems", value: "System" }),
    ],
  },
  {
    key: "behaviour",
    lists: [
      byEvents({ key: "name", tab: "Events", title: "Events", value: "Event", dimension: "event:name", nothing: "Nothing happened in this period." }),
      byEvents({
        key: "goal", tab: "Goals", title: "Goals", value: "Goal", dimension: "event:goal", nothing: "No goal was reached in this period.",
        columns: [column("visitors", "Converted"), events, column("conversion_rate", "Rate"), revenue],
      }),
      byEvents({
        key: PROPERTY_LIST, tab: "Properties", title: "Property", value: "Value", dimension: "", nothing: "No event in this period has that property.",
        columns: [visitors, events], further: [column("percentage"), revenue],
      }),
      byEvents({
        key: "outbound", tab: "Outbound links", group: "Links", title: "Outbound links", value: "Address", dimension: propertyDimension("url"),
        where: named("outbound_click", "Outbound Link: Click"), nothing: "No link to elsewhere was followed in this period.",
        columns: [visitors, column("events", "Clicks")],
      }),
      byEvents({
        key: "downloads", tab: "Downloads", group: "Links", title: "Downloads", value: "File", dimension: propertyDimension("url"),
        where: named("file_download", "File Download"), nothing: "Nothing was downloaded in this period.", columns: [visitors, column("events", "Downloads")],
      }),
      byEvents({
        key: "not_found", tab: "Pages not found", group: "Links", title: "Pages not found", value: "Address", dimension: "event:page",
        where: named("not_found", "404"), nothing: "Nobody came to a page that is not there.", columns: [visitors, column("events", "Times")],
      }),
    ],
  },
];

/** Versions are what is left to tell once there is one browser, or one system. */
const VERSIONS: Readonly<Record<string, Pick<List, "dimension" | "title" | "value">>> = {
  "visit:browser": { dimension: "visit:browser_version", title: "Browser versions", value: "Version" },
  "visit:os": { dimension: "visit:os_version", title: "System versions", value: "Version" },
};

/** A list as it is under these filters: finer where all rows would be one, and with rates of conversion among goals. */
export function listUnder(list: List, filters: readonly Filter[], property: string): List {
  if (list.key === PROPERTY_LIST) return { ...list, title: property ? `By “${property}”` : list.title, dimension: property ? propertyDimension(property) : "" };
  const versions = onlyValue(filters, list.dimension) !== undefined ? VERSIONS[list.dimension] : undefined;
  const goals = speaksOf(filters, "event:goal") && !list.where && list.key !== "goal";
  return {
    ...list,
    ...versions,
    ...(goals && { columns: [column("visitors", "Converted"), column("group_conversion_rate", "Rate")], further: [column("orders"), revenue] }),
  };
}

/** What the whole list is asked with. */
export interface Whole {
  readonly columns: readonly Column[];
  readonly search: string;
  readonly order: readonly [metric: string, "asc" | "desc"];
  readonly limit: number;
  readonly offset: number;
}

/** The question for the first rows of a list, or for a part of the whole. */
export function listQuery(request: ListRequest, list: List, part: number | Whole): Query {
  const { site, period, compare } = request;
  const now = Date.now();
  const stamp = localStamp(now, site.timezone);
  const other = compare ? compared(period, compare, request.weekdays, now, stamp) : undefined;
  const whole = typeof part === "number" ? undefined : part;
  const search: ApiFilter[] = whole?.search ? [["contains", list.dimension, [whole.search], { case_sensitive: false }]] : [];
  return {
    site_id: site.id,
    metrics: (whole?.columns ?? list.columns).map(({ metric }) => metric),
    date_range: dateRange(period, now, stamp.slice(0, 10)),
    dimensions: [list.dimension],
    filters: [...toApi(request.filters), ...(list.where ?? []), ...search],
    ...(whole && { order_by: [whole.order] }),
    include: { total_rows: true, ...(other && { comparisons: { mode: "custom", date_range: other.soFar } }) },
    pagination: whole ? { limit: whole.limit, offset: whole.offset } : { limit: part as number, offset: 0 },
  };
}

export async function fetchList(request: ListRequest, list: List, part: number | Whole, signal: AbortSignal): Promise<ListAnswer> {
  const columns = typeof part === "number" ? list.columns : part.columns;
  const answer = await query(listQuery(request, list, part), signal);
  return {
    site: request.site.id, list: list.key, dimension: list.dimension, columns, currency: currencyOf(answer) ?? request.site.currency,
    ...readList(answer, list.dimension),
  };
}

export function readList(answer: Answer, dimension: string): Pick<ListAnswer, "rows" | "total"> {
  return {
    rows: answer.results.map(({ dimensions: [value = ""], metrics, comparison }) => ({
      value,
      label: valueLabel(dimension, value),
      figures: metrics.map(amount),
      ...(comparison && { change: comparison.change.map((change, at) => (amount(comparison.metrics[at]) ? change : null)) }),
    })),
    total: answer.meta.total_rows ?? answer.results.length,
  };
}

/** Whether rows can be filtered by: what is summed up as others is no value. */
export const canFilter = (dimension: string, value: string): boolean => dimension !== "" && value !== "(other)";
