import assert from "node:assert/strict";
import { test } from "node:test";
import { trend } from "../src/trend";

test("what grows most comes first, then what has most", () => {
  const row = (page: string, now: number, before: number) => ({ dimensions: [page], metrics: [now], comparison: { metrics: [before], change: [null] } });
  const pages = trend({ results: [row("/falls", 9, 20), row("/steady", 30, 30), row("/rises", 12, 2), row("/new", 10, 0), row("/as-steady", 4, 4)], meta: {} });
  assert.deepEqual(pages.map(({ page }) => page), ["/rises", "/new", "/steady", "/as-steady", "/falls"]);
});
