import assert from "node:assert/strict";
import { test } from "node:test";
import { linkFrom, pageFrom, pathOf, searchOf, tokenFrom, viewFrom } from "../src/url";

test("a view comes back from its address", () => {
  for (const search of ["", "?site=shop.example&period=28d&metric=bounce_rate&interval=week", "?period=custom&from=2026-01-01&to=2026-01-31",
    "?compare=year_over_year&match=weekdays&f=is,country,DE,AT&f=contains,page,/a%5C,b&f=matches_not,props:plan,%5Epro&f=is,segment,3",
    "?sources=channel&behaviour=property&property=plan&view=table&details=behaviour"]) {
    assert.equal(searchOf(viewFrom(search)), search);
  }
});

test("nonsense in the address is what is usual", () =>
  assert.equal(searchOf(viewFrom("?period=x&metric=__proto__&interval=year&from=1&to=2&compare=all&f=is,page&f=dances,page,/&f=is,nothing,x&f=is,segment,x&f=&details=x")), ""));

test("a token is read from the fragment only where there is one", () => {
  assert.equal(tokenFrom("#token=abc%2Bd"), "abc+d");
  assert.equal(tokenFrom("#token="), undefined);
  assert.equal(tokenFrom("#main"), undefined);
  assert.equal(tokenFrom(""), undefined);
});

test("a page comes back from its path, and any other path is the report", () => {
  for (const page of ["report", "goals", "ledger", "rules", "sharing"] as const) assert.equal(pageFrom(pathOf(page)), page);
  assert.equal(pageFrom("/ledger/"), "ledger");
  assert.equal(pageFrom("/nowhere"), "report");
});

test("the secret of a public link is read from its path only", () => {
  assert.equal(linkFrom("/share/aB-9_"), "aB-9_");
  assert.equal(linkFrom("/share/aB9/"), "aB9");
  for (const path of ["/share/", "/share/a/b", "/", "/shared/a"]) assert.equal(linkFrom(path), undefined);
});
