import assert from "node:assert/strict";
import { test } from "node:test";
import { axisLabel, currentBucket, fullLabel, guessInterval } from "../src/labels";
import { readSeries } from "../src/report";

const HOURS = ["2026-03-14 00:00:00", "2026-03-14 01:00:00", "2026-03-14 02:00:00"];

test("the current bucket is the last one that has begun", () => {
  assert.equal(currentBucket(HOURS, "2026-03-14 01:59:59"), 1);
  assert.equal(currentBucket(HOURS, "2026-03-14 02:00:00"), 2);
  assert.equal(currentBucket(HOURS, "2026-03-13 23:59:59"), -1);
  assert.equal(currentBucket(["2026-03-13", "2026-03-14", "2026-03-15"], "2026-03-14 10:00:00"), 1);
});

test("the step is seen from the labels", () => {
  assert.equal(guessInterval(HOURS), "hour");
  assert.equal(guessInterval(["2026-03-14 00:00:00", "2026-03-14 00:01:00"]), "minute");
  assert.equal(guessInterval(["2026-03-13", "2026-03-14"]), "day");
  assert.equal(guessInterval(["2026-03-13", "2026-03-16", "2026-03-23"]), "week");
  assert.equal(guessInterval(["2026-02-01", "2026-03-01"]), "month");
});

test("labels are short on the axis and complete elsewhere", () => {
  assert.equal(axisLabel("2026-03-14 13:00:00", "hour", false), "13:00");
  assert.equal(axisLabel("2026-03-14 00:00:00", "hour", true), "14 Mar");
  assert.equal(axisLabel("2026-01-01", "month", true), "2026");
  assert.equal(fullLabel("2026-03-14 13:00:00", "hour"), "Sat 14 Mar, 13:00");
  assert.equal(fullLabel("2026-10-25 02:00:00+01:00", "hour"), "Sun 25 Oct, 02:00 (+01:00)");
  assert.equal(fullLabel("2026-03-01", "month"), "March 2026");
});

const METRICS = ["visitors", "visits", "pageviews", "events", "bounce_rate", "visit_duration"] as const;

test("buckets without rows are zero up to now, and nothing after", () => {
  const answer = {
    results: [{ dimensions: [HOURS[0] ?? ""], metrics: [3, 4, 9, 12, 50, 61] }],
    meta: { time_labels: HOURS },
  };
  const series = readSeries(answer, METRICS, "2026-03-14 01:30:00", "hour");
  assert.deepEqual(series.values.visitors, [3, 0, null]);
  assert.deepEqual(series.values.bounce_rate, [50, null, null], "an average of no visits is nothing");
  assert.equal(series.current, 1);
  assert.equal(readSeries(answer, METRICS, "2026-03-15 09:00:00", "hour").current, -1, "yesterday is complete");
});
