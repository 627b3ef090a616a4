import assert from "node:assert/strict";
import { test } from "node:test";
import { arrive, EMPTY_STREAM, MAX_EVENTS, pause, resume, type StreamItem } from "../src/stream";

const items = (from: number, count: number): StreamItem[] =>
  Array.from({ length: count }, (_, at) => ({ id: from + at, received_at: 0, time: 0, fate: "counted", event_type: "page_view", name: "", path: "/", visitor: "" }));
const ids = (list: readonly StreamItem[]) => list.map(({ id }) => id);

test("the newest event is on top and the oldest falls off", () => {
  const stream = arrive(arrive(EMPTY_STREAM, items(0, MAX_EVENTS)), items(MAX_EVENTS, 2));
  assert.equal(stream.shown.length, MAX_EVENTS);
  assert.deepEqual(ids(stream.shown).slice(0, 3), [101, 100, 99]);
});

test("a paused list stands still, counts what comes, and catches up", () => {
  const paused = arrive(pause(arrive(EMPTY_STREAM, items(0, 2))), items(2, MAX_EVENTS + 5));
  assert.deepEqual(ids(paused.shown), [1, 0]);
  assert.equal(paused.heldCount, MAX_EVENTS + 5);
  const resumed = resume(paused);
  assert.equal(resumed.shown.length, MAX_EVENTS);
  assert.equal(resumed.shown[0]?.id, MAX_EVENTS + 6);
  assert.equal(resumed.heldCount, 0);
});
