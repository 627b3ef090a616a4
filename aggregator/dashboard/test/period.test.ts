import assert from "node:assert/strict";
import { test } from "node:test";
import { dateRange, days, includesNow, intervals, periodFrom, periodName, PERIODS, shift, type Period } from "../src/period";

const TODAY = "2026-03-14";
const NOW = Date.parse("2026-03-14T10:20:30Z");
const custom = (from: string, to: string): Period => ({ key: "custom", from, to });

test("the last 30 minutes are whole minutes and end with this one", () =>
  assert.deepEqual(dateRange({ key: "realtime" }, NOW, TODAY), ["2026-03-14T09:51:00Z", "2026-03-14T10:20:59Z"]));

test("periods that the API has no word for are asked for by date", () => {
  assert.equal(dateRange({ key: "28d" }, NOW, TODAY), "28d");
  assert.deepEqual(dateRange({ key: "yesterday" }, NOW, TODAY), ["2026-03-13", "2026-03-13"]);
  assert.deepEqual(dateRange({ key: "lastmonth" }, NOW, TODAY), ["2026-02-01", "2026-02-28"]);
  assert.deepEqual(dateRange(custom("2026-01-02", "2026-01-05"), NOW, TODAY), ["2026-01-02", "2026-01-05"]);
});

test("stepping back keeps the kind of period", () => {
  assert.deepEqual(shift({ key: "day" }, -1, TODAY), { key: "yesterday" });
  assert.deepEqual(shift({ key: "yesterday" }, -1, TODAY), custom("2026-03-12", "2026-03-12"));
  assert.deepEqual(shift({ key: "month" }, -1, TODAY), { key: "lastmonth" });
  assert.deepEqual(shift({ key: "lastmonth" }, -1, TODAY), custom("2026-01-01", "2026-01-31"));
  assert.deepEqual(shift({ key: "year" }, -1, TODAY), custom("2025-01-01", "2025-12-31"));
  assert.deepEqual(shift({ key: "7d" }, -1, TODAY), custom("2026-02-28", "2026-03-06"));
});

test("stepping forth ends at today and finds the names again", () => {
  assert.deepEqual(shift(custom("2026-03-12", "2026-03-12"), 1, TODAY), { key: "yesterday" });
  assert.deepEqual(shift({ key: "yesterday" }, 1, TODAY), { key: "day" });
  assert.deepEqual(shift(custom("2026-02-28", "2026-03-06"), 1, TODAY), { key: "7d" });
  assert.equal(shift({ key: "day" }, 1, TODAY), undefined);
  assert.equal(shift({ key: "month" }, 1, TODAY), undefined);
  assert.equal(shift({ key: "all" }, -1, TODAY), undefined);
});

test("a range from the address is checked", () => {
  assert.deepEqual(periodFrom("custom", "2026-01-02", "2026-01-03"), custom("2026-01-02", "2026-01-03"));
  for (const [from, to] of [["2026-02-30", "2026-03-01"], ["2026-01-03", "2026-01-02"], [null, "2026-01-02"], ["x", "y"]] as const) {
    assert.deepEqual(periodFrom("custom", from, to), { key: "day" });
  }
  assert.deepEqual(periodFrom("fortnight", null, null), { key: "day" });
});

test("ranges have the names that people give them", () => {
  assert.equal(periodName(custom("2026-03-12", "2026-03-12")), "Thu 12 Mar 2026");
  assert.equal(periodName(custom("2026-01-01", "2026-01-31")), "January 2026");
  assert.equal(periodName(custom("2025-01-01", "2025-12-31")), "2025");
  assert.equal(periodName(custom("2026-02-28", "2026-03-06")), "28 Feb 2026 – 6 Mar 2026");
});

test("only a range that reaches today changes by what happens now", () => {
  assert.equal(includesNow({ key: "day" }, TODAY), true);
  assert.equal(includesNow({ key: "28d" }, TODAY), false);
  assert.equal(includesNow(custom("2026-03-01", TODAY), TODAY), true);
  assert.equal(includesNow(custom("2026-03-01", "2026-03-13"), TODAY), false);
});

test("the last months are whole ones, and step by as many", () => {
  assert.deepEqual(days({ key: "6mo" }, TODAY), ["2025-09-01", "2026-02-28"]);
  assert.deepEqual(shift({ key: "12mo" }, -1, TODAY), custom("2024-03-01", "2025-02-28"));
  assert.deepEqual(shift(custom("2024-03-01", "2025-02-28"), 1, TODAY), { key: "12mo" });
});

test("every period has steps, and its own letter", () => {
  for (const { key } of PERIODS) assert.ok(intervals(key === "custom" ? custom("2026-01-01", "2026-02-01") : { key }).length > 0, key);
  assert.equal(new Set(PERIODS.map(({ shortcut }) => shortcut)).size, PERIODS.length);
});
