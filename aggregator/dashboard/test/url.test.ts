import assert from "node:assert/strict";
import { test } from "node:test";
import { pageFrom, pathOf, searchOf, tokenFrom, viewFrom } from "../src/url";

test("a view comes back from its address", () => {
  for (const search of ["", "?site=shop.example&period=28d&metric=bounce_rate&interval=week", "?period=custom&from=2026-01-01&to=2026-01-31"]) {
    assert.equal(searchOf(viewFrom(search)), search);
  }
});

test("nonsense in the address is what is usual", () =>
  assert.equal(searchOf(viewFrom("?period=x&metric=__proto__&interval=year&from=1&to=2")), ""));

test("a token is read from the fragment only where there is one", () => {
  assert.equal(tokenFrom("#token=abc%2Bd"), "abc+d");
  assert.equal(tokenFrom("#token="), undefined);
  assert.equal(tokenFrom("#main"), undefined);
  assert.equal(tokenFrom(""), undefined);
});

test("a page comes back from its path, and any other path is the report", () => {
  for (const page of ["report", "goals", "ledger", "rules"] as const) assert.equal(pageFrom(pathOf(page)), page);
  assert.equal(pageFrom("/ledger/"), "ledger");
  assert.equal(pageFrom("/nowhere"), "report");
});
