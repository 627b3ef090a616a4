import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { countryName, fetchList, PANELS, readList } from "../src/lists";

const site = { id: 7, domain: "shop.example", timezone: "UTC", currency: "EUR" };
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

test("a list asks for its own dimension, and for whole days where the period has none", async () => {
  const answer = await fetchList(site, { key: "24h" }, named("source"), 9, new AbortController().signal);
  assert.deepEqual(asked, [
    {
      site_id: 7, metrics: ["visitors", "visits", "bounce_rate"], date_range: "day", dimensions: ["visit:source"],
      include: { total_rows: true }, pagination: { limit: 9, offset: 0 },
    },
  ]);
  assert.deepEqual(answer, {
    site: 7, list: "source", period: { key: "24h" }, rowsPeriod: { key: "day" }, rows: [{ label: "Google", figures: [4, 5, 50] }], total: 12,
  });
});

test("values that are missing are said in words", () => {
  const label = (key: string) => readList({ results: [{ dimensions: ["(not set)"], metrics: [1] }], meta: {} }, named(key)).rows[0]?.label;
  assert.deepEqual(["country", "utm_campaign", "entry_page", "os"].map(label), ["Unknown", "No campaign", "No page viewed", "Unknown"]);
});

test("countries are written out, and what is none stays as it is", () =>
  assert.deepEqual(["DE", "JP", "(other)", "(not set)"].map(countryName), ["Germany", "Japan", "(other)", "Unknown"]));

test("keys are unique, and of visits are asked only what their rows tell", () => {
  assert.equal(new Set(lists.map(({ key }) => key)).size, lists.length);
  for (const { dimension, columns } of lists) {
    assert.equal(columns[0]?.metric, "visitors", dimension);
    if (dimension === "event:name") assert.ok(columns.every(({ metric }) => metric !== "bounce_rate"));
  }
});
