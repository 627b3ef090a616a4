/** What can be filtered and broken down by: the API's names, the short ones of the address, and how values are written. */

export interface DimensionInfo {
  /** As the API calls it. */
  readonly dimension: string;
  /** As the address calls it. */
  readonly param: string;
  readonly name: string;
  /** Which part of a menu it stands in. */
  readonly group: string;
}

const of = (group: string, all: readonly (readonly [dimension: string, name: string])[]): DimensionInfo[] =>
  all.map(([dimension, name]) => ({ dimension, param: dimension.slice(dimension.indexOf(":") + 1), name, group }));

export const DIMENSIONS: readonly DimensionInfo[] = [
  ...of("Behaviour", [
    ["event:page", "Page"], ["visit:entry_page", "Entry page"], ["visit:exit_page", "Exit page"], ["event:goal", "Goal"],
    ["event:name", "Event"], ["event:hostname", "Hostname"],
  ]),
  ...of("Acquisition", [
    ["visit:channel", "Channel"], ["visit:source", "Source"], ["visit:referrer", "Referrer"], ["visit:utm_campaign", "UTM campaign"],
    ["visit:utm_source", "UTM source"], ["visit:utm_medium", "UTM medium"], ["visit:utm_content", "UTM content"], ["visit:utm_term", "UTM term"],
  ]),
  ...of("Place", [["visit:country", "Country"], ["visit:region", "Region"], ["visit:city", "City"]]),
  ...of("Device", [
    ["visit:device", "Device"], ["visit:browser", "Browser"], ["visit:browser_version", "Browser version"], ["visit:os", "System"],
    ["visit:os_version", "System version"],
  ]),
];

/** The dimension that means a saved segment. */
export const SEGMENT = "segment";
const PROPERTY = "event:props:";
const PROPERTY_PARAM = "props:";

export const propertyDimension = (name: string): string => PROPERTY + name;
/** The name of a property of events, if that is what the dimension is. */
export const propertyOf = (dimension: string): string | undefined =>
  dimension.startsWith(PROPERTY) ? dimension.slice(PROPERTY.length) : undefined;

export function dimensionName(dimension: string): string {
  if (dimension === SEGMENT) return "Segment";
  return propertyOf(dimension) ?? DIMENSIONS.find((each) => each.dimension === dimension)?.name ?? dimension;
}

export function paramOf(dimension: string): string {
  const property = propertyOf(dimension);
  if (property !== undefined) return PROPERTY_PARAM + property;
  return DIMENSIONS.find((each) => each.dimension === dimension)?.param ?? dimension;
}

/** The dimension that the address means, if there is one. */
export function dimensionFrom(param: string): string | undefined {
  if (param === SEGMENT) return SEGMENT;
  if (param.startsWith(PROPERTY_PARAM)) return param.length > PROPERTY_PARAM.length ? propertyDimension(param.slice(PROPERTY_PARAM.length)) : undefined;
  return DIMENSIONS.find((each) => each.param === param)?.dimension;
}

const UNSET = "(not set)";
/** What stands for no value, where there are better words. */
const ABSENT: Readonly<Record<string, string>> = {
  "visit:utm_campaign": "No campaign", "visit:utm_source": "None", "visit:utm_medium": "None", "visit:utm_content": "None", "visit:utm_term": "None",
  "visit:entry_page": "No page viewed", "visit:exit_page": "No page viewed",
};

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

/** How a value of a dimension is written. */
export function valueLabel(dimension: string, value: string): string {
  if (dimension === "visit:country") return countryName(value);
  return value === UNSET ? (ABSENT[dimension] ?? "Unknown") : value;
}
