import assert from "node:assert/strict";
import { test } from "node:test";
import { changeText, clock, duration, eventTypeName, fullNumber, localStamp, moneyFull, moneyShort, percent, roughly, shortNumber } from "../src/format";

const table = <T>(write: (value: T) => string, rows: readonly (readonly [T, string])[]) => {
  for (const [value, text] of rows) assert.equal(write(value), text, `of ${String(value)}`);
};

test("numbers take four characters and a unit at most", () =>
  table(shortNumber, [
    [0, "0"], [7, "7"], [999, "999"], [1000, "1k"], [1234, "1.2k"], [9949, "9.9k"], [12_345, "12.3k"], [99_949, "99.9k"],
    [99_960, "100k"], [123_456, "123k"], [999_499, "999k"], [999_500, "1M"], [1_250_000, "1.3M"], [3_000_000_000, "3B"], [-1500, "−1.5k"],
  ]));

test("full numbers have all their digits", () => table(fullNumber, [[0, "0"], [1_234_567, "1,234,567"]]));

test("durations say their two largest units", () =>
  table(duration, [[0, "0s"], [59.4, "59s"], [59.6, "1m 00s"], [125, "2m 05s"], [3600, "1h 00m"], [7384, "2h 03m"], [-3, "0s"]]));

test("times are those of the site's zone", () => {
  const ms = Date.parse("2026-11-21T06:03:09Z");
  assert.equal(clock(ms, "Asia/Kolkata"), "11:33:09");
  assert.equal(localStamp(ms, "America/New_York"), "2026-11-21 01:03:09");
  assert.equal(localStamp(Date.parse("2026-11-21T23:30:00Z"), "Europe/Berlin"), "2026-11-22 00:30:00");
});

test("a zone that the browser doesn't know is read as UTC", () => assert.equal(clock(0, "Mars/Olympus"), "00:00:00"));

test("ages are rough", () => table(roughly, [[-5, "0s"], [12_400, "12s"], [240_000, "4m"], [3 * 3_600_000, "3h"], [2 * 86_400_000, "2d"]]));

test("event types are words, however they are written", () =>
  table(eventTypeName, [["page_view", "Page view"], ["EVENT_TYPE_PAGE_VIEW", "Page view"], ["", "Unreadable"]]));

test("small shares have a decimal", () => table(percent, [[0, "0%"], [3.44, "3.4%"], [9.96, "10%"], [57.3, "57%"]]));

test("changes have a sign, and shares change by points", () => {
  table((value: number) => changeText(value, false), [[12, "+12%"], [-3, "−3%"], [0, "0%"], [1250, "+1.3k%"]]);
  table((value: number) => changeText(value, true), [[2.5, "+2.5 pt"], [-0.4, "−0.4 pt"]]);
});

test("money is short where it is much, and of any currency", () => {
  assert.deepEqual([12.5, 999, 1234, 2_500_000].map((value) => moneyShort(value, "EUR")), ["€12.50", "€999.00", "€1.23K", "€2.5M"]);
  assert.equal(moneyFull(1234.5, "USD"), "$1,234.50");
  assert.equal(moneyFull(1234, "JPY"), "¥1,234");
  assert.equal(moneyFull(5, "no code"), "5");
});
