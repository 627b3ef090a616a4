import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { Filter } from "../src/filters";
import { fetchList, listQuery, listUnder, PANELS, readList, type ListRequest } from "../src/lists";

const site = { id: 7, domain: "shop.example", timezone: "UTC", currency: "EUR" };
const request = (change: Partial<ListRequest> = {}): ListRequest =>
  ({ site, period: { key: "28d" }, filters: [], compare: "", weekdays: false, property: "", ...change });
const is = (dimension: string, ...values: string[]): Filter => ({ operator: "is", dimension, values });
const fetched = globalThis.fetch;
let asked: Record<string, unknown>[] = [];

beforeEach(() => {
  asked = [];
  globalThis.fetch = async (_, init) => {
    asked.push(JSON.parse(String(init?.body)) as Record<string, unknown>);
    return Response.json({ results: [{ dimensions: ["Google"], metrics: [4, 5, 50] }], meta: { total_rows: 12 } });
  };
});
afterEach(() => {
  globalThis.fetch = fetched;
});

const lists = PANELS.flatMap((panel) => panel.lists);
const named = (key: string) => lists.find((list) => list.key === key)!;

test("a list asks for its own dimension, under the view's filters", async () => {
  const answer = await fetchList(request({ period: { key: "24h" }, filters: [is("visit:country", "DE")] }), named("source"), 9, new AbortController().signal);
  assert.deepEqual(asked, [
    {
      site_id: 7, metrics: ["visitors", "visits", "bounce_rate"], date_range: "24h", dimensions: ["visit:source"],
      filters: [["is", "visit:country", ["DE"]]], include: { total_rows: true }, pagination: { limit: 9, offset: 0 },
    },
  ]);
  assert.deepEqual(answer, {
    site: 7, list: "source", dimension: "visit:source", columns: named("source").columns, currency: "EUR",
    rows: [{ value: "Google", label: "Google", figures: [4, 5, 50] }], total: 12,
  });
});

test("a list of some events asks for these, and a search for what has the text in it", () => {
  const { columns } = named("outbound");
  const query = listQuery(request(), named("outbound"), { columns, search: "a.ex", order: ["events", "asc"], limit: 100, offset: 100 });
  assert.deepEqual(query.filters, [
    ["is", "event:name", ["outbound_click", "Outbound Link: Click"]], ["contains", "event:props:url", ["a.ex"], { case_sensitive: false }],
  ]);
  assert.deepEqual([query.order_by, query.pagination], [[["events", "asc"]], { limit: 100, offset: 100 }]);
});

test("once there is one browser its versions are told", () => {
  const one = listUnder(named("browser"), [is("visit:browser", "Firefox")], "");
  assert.equal(one.dimension, "visit:browser_version");
  assert.equal(listUnder(named("browser"), [is("visit:browser", "Firefox", "Chrome")], "").dimension, "visit:browser");
});

test("among goals lists tell of conversions, and the list of properties of the property chosen", () => {
  const goals = listUnder(named("source"), [is("event:goal", "order")], "");
  assert.deepEqual(goals.columns.map(({ metric }) => metric), ["visitors", "group_conversion_rate"]);
  assert.equal(listUnder(named("property"), [], "plan").dimension, "event:props:plan");
  assert.equal(listUnder(named("property"), [], "").dimension, "");
});

test("rows keep what to filter by and tell their change", () => {
  const { rows } = readList({ results: [{ dimensions: ["DE"], metrics: [4, { value: 2.5, currency: "EUR" }, null], comparison: { metrics: [2, 0, null], change: [100, 100, null] } }], meta: {} }, "visit:country");
  assert.deepEqual(rows, [{ value: "DE", label: "Germany", figures: [4, 2.5, null], change: [100, null, null] }]);
});

test("keys are unique, and figures of visits are not asked by what visits have several of", () => {
  assert.equal(new Set(lists.map(({ key }) => key)).size, lists.length);
  for (const { dimension, columns, further = [] } of lists) {
    assert.equal(columns[0]?.metric, "visitors", dimension);
    const ofVisits = [...columns, ...further].filter(({ metric }) => ["bounce_rate", "visit_duration", "views_per_visit"].includes(metric));
    if (dimension.startsWith("event:") && dimension !== "event:page") assert.deepEqual(ofVisits, [], dimension);
  }
});
