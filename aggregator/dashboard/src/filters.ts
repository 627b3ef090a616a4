/** Conditions that all figures are under: as the address has them, as the API takes them, and as people read them. */
import { dimensionFrom, dimensionName, paramOf, SEGMENT, valueLabel } from "./dimensions";

export const OPERATORS = ["is", "is_not", "contains", "contains_not", "matches", "matches_not"] as const;
export type Operator = (typeof OPERATORS)[number];

export const OPERATOR_NAMES: Readonly<Record<Operator, string>> = {
  is: "is", is_not: "is not", contains: "contains", contains_not: "does not contain", matches: "matches", matches_not: "does not match",
};

export interface Filter {
  readonly operator: Operator;
  readonly dimension: string;
  /** One of them has to fit; not empty. */
  readonly values: readonly string[];
}

/** A condition in the form of the API's questions. */
export type ApiFilter = readonly unknown[];

/** The operators that a dimension can be asked with. */
export function operatorsFor(dimension: string): readonly Operator[] {
  if (dimension === SEGMENT) return ["is"];
  return dimension === "event:goal" ? ["is", "contains"] : OPERATORS;
}

export function toApi(filters: readonly Filter[]): ApiFilter[] {
  return filters.map(({ operator, dimension, values }) => {
    if (dimension === SEGMENT) return ["is", SEGMENT, values.map(Number)];
    // Who types a part of a word does not mean its capitals.
    const anyCase = operator === "contains" || operator === "contains_not";
    return anyCase ? [operator, dimension, values, { case_sensitive: false }] : [operator, dimension, values];
  });
}

/** `is,page,/a,/b`; a comma or backslash in a value has a backslash before it. */
export const filterText = ({ operator, dimension, values }: Filter): string =>
  [operator, paramOf(dimension), ...values].map((part) => part.replace(/[\\,]/g, "\\$&")).join(",");

function partsOf(text: string): string[] {
  const parts = [""];
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === ",") parts.push("");
    else parts.push((parts.pop() ?? "") + (text[at] === "\\" ? (text[(at += 1)] ?? "") : text[at]));
  }
  return parts;
}

/** What such a text means; `undefined` if nothing. */
export function filterFrom(text: string): Filter | undefined {
  const [name = "", param = "", ...values] = partsOf(text);
  const operator = OPERATORS.find((each) => each === name);
  const dimension = dimensionFrom(param);
  if (!operator || !dimension || values.length === 0 || values.includes("") || !operatorsFor(dimension).includes(operator)) return undefined;
  if (dimension === SEGMENT && !values.every((value) => /^\d{1,15}$/.test(value))) return undefined;
  return { operator, dimension, values };
}

const same = (one: readonly string[], other: readonly string[]): boolean =>
  one.length === other.length && one.every((value, at) => value === other[at]);

/** Whether a value is what the filters ask a dimension to be. */
export const isChosen = (filters: readonly Filter[], dimension: string, value: string): boolean =>
  filters.some((each) => each.operator === "is" && each.dimension === dimension && each.values.includes(value));

/**
 * Asks for one value of a dimension, in the place of what was asked of it to be; a second time asks for it no more.
 * `add` asks for it beside others.
 */
export function toggled(filters: readonly Filter[], dimension: string, value: string, add = false): readonly Filter[] {
  const at = filters.findIndex((each) => each.operator === "is" && each.dimension === dimension);
  const had = filters[at]?.values ?? [];
  const values = had.includes(value) && (add || same(had, [value])) ? had.filter((each) => each !== value)
    : add ? [...had, value] : [value];
  return put(filters, at, values.length > 0 ? { operator: "is", dimension, values } : undefined);
}

/** Puts a filter in the place of another, at the end if there is none, or takes that one away. */
export function put(filters: readonly Filter[], at: number, filter: Filter | undefined): readonly Filter[] {
  const next = [...filters];
  const place = at < 0 ? next.length : at;
  if (filter) next.splice(place, 1, filter);
  else next.splice(place, 1);
  return next;
}

/** Whether conditions speak of a dimension, as far as can be told: a segment may. */
export const speaksOf = (filters: readonly Filter[], dimension: string): boolean => filters.some((each) => each.dimension === dimension);

/** The one value that the filters ask a dimension to be. */
export function onlyValue(filters: readonly Filter[], dimension: string): string | undefined {
  const found = filters.find((each) => each.operator === "is" && each.dimension === dimension);
  return found?.values.length === 1 ? found.values[0] : undefined;
}

export interface FilterWords {
  readonly what: string;
  readonly how: string;
  readonly values: string;
}

/** A filter in words; `segmentName` knows what segments are called. */
export function filterWords({ operator, dimension, values }: Filter, segmentName: (id: string) => string): FilterWords {
  const labels = values.map((value) => (dimension === SEGMENT ? segmentName(value) : valueLabel(dimension, value)));
  const [first = "", ...rest] = labels;
  return {
    what: dimensionName(dimension),
    how: OPERATOR_NAMES[operator],
    values: rest.length > 2 ? `${first} or ${rest.length} others` : labels.join(" or "),
  };
}
