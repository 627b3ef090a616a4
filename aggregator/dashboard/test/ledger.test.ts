import assert from "node:assert/strict";
import { test } from "node:test";
import { amount, explain, FATES, lineLabel, pending, reasons, whole, type FateLine, type Ledger } from "../src/ledger";

const line: FateLine = {
  time: "2026-11-21T09:00:00Z", received: 22, accepted: 14, rejected: { no_consent: 2, too_old: 3, bot: 1 },
  counted: 10, duplicate: 3, late: 1, unreadable: 0, lost_corrupt: 2, lost_by_client: 5, unsettled: 0,
};
const ledger: Ledger = {
  site: "shop.example", interval: "hour", from: "2026-11-21T08:00:00Z", to: "2026-11-21T11:00:00Z", lines: [line], total: line,
  waiting: { log_records: 0, collectors: [{ edge: "a", connected: true, pending: 4, said_at: "" }, { edge: "b", connected: false, pending: 3, said_at: "" }] },
};

test("the fates of a line are all that was received", () => {
  assert.equal(FATES.reduce((sum, fate) => sum + amount(line, fate), 0), line.received);
});

test("hours without anything are shown, too", () => {
  assert.deepEqual(whole(ledger).map(({ received }) => received), [0, 22, 0]);
  assert.deepEqual(whole({ ...ledger, interval: "day", from: "2026-11-20T00:00:00Z", to: "2026-11-22T00:00:00Z", lines: [] }).length, 2);
});

test("the most frequent reason comes first", () => {
  assert.deepEqual(reasons(line).map(([reason]) => reason), ["too_old", "no_consent", "bot"]);
});

test("each reason has a name and an advice, also one of a later version", () => {
  assert.equal(explain("too_old").name, "Too old");
  assert.equal(explain("of_the_future").name, "Of the future");
  assert.ok(explain("constructor").advice.length > 10);
});

test("what waits is summed over collectors", () => assert.equal(pending(ledger), 7));

test("labels are of UTC", () => {
  assert.equal(lineLabel("2026-11-21T09:00:00Z", "hour"), "09:00");
  assert.equal(lineLabel("2026-11-21T00:00:00Z", "day"), "21 Nov");
});
