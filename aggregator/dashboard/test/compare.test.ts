import assert from "node:assert/strict";
import { test } from "node:test";
import { compared, type Comparison } from "../src/compare";
import type { Period } from "../src/period";

const NOW = Date.parse("2026-03-14T10:20:30Z");
const STAMP = "2026-03-14 10:20:30";
const of = (period: Period, comparison: Comparison = "previous_period", weekdays = false) => compared(period, comparison, weekdays, NOW, STAMP);

test("today is compared with as much of yesterday", () =>
  assert.deepEqual(of({ key: "day" }), { whole: ["2026-03-13", "2026-03-13"], soFar: ["2026-03-13T00:00:00", "2026-03-13T10:20:59"], name: "13 Mar 2026" }));

test("days that are over are compared with as many right before", () =>
  assert.deepEqual(of({ key: "7d" }), { whole: ["2026-02-28", "2026-03-06"], soFar: ["2026-02-28", "2026-03-06"], name: "28 Feb – 6 Mar 2026" }));

test("a month to date is compared with as many days of the month before", () => {
  assert.deepEqual(of({ key: "month" })?.whole, ["2026-02-01", "2026-02-28"]);
  assert.deepEqual(of({ key: "month" })?.soFar, ["2026-02-01", "2026-02-14"]);
  assert.deepEqual(compared({ key: "month" }, "previous_period", false, NOW, "2026-03-31 10:00:00")?.soFar, ["2026-02-01", "2026-02-28"]);
});

test("a year earlier is the same date, or the same day of the week", () => {
  assert.deepEqual(of({ key: "7d" }, "year_over_year")?.whole, ["2025-03-07", "2025-03-13"]);
  assert.deepEqual(of({ key: "7d" }, "year_over_year", true)?.whole, ["2025-03-08", "2025-03-14"]);
  assert.deepEqual(of({ key: "custom", from: "2024-02-29", to: "2024-02-29" }, "year_over_year")?.whole, ["2023-02-28", "2023-02-28"]);
});

test("weekdays that match lie whole weeks back", () => {
  assert.deepEqual(of({ key: "day" }, "previous_period", true)?.whole, ["2026-03-07", "2026-03-07"]);
  assert.deepEqual(of({ key: "30d" }, "previous_period", true)?.whole, ["2026-01-08", "2026-02-06"]);
});

test("24 hours are compared with 24 hours, and what has no other time with none", () => {
  assert.deepEqual(of({ key: "24h" })?.whole, ["2026-03-12T10:21:00.000Z", "2026-03-13T10:21:00.000Z"]);
  assert.equal(of({ key: "all" }), undefined);
  assert.equal(of({ key: "realtime" }), undefined);
});
