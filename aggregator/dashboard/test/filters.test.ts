import assert from "node:assert/strict";
import { test } from "node:test";
import { canFilter } from "../src/lists";
import { filterFrom, filterText, filterWords, isChosen, OPERATORS, operatorsFor, put, toApi, toggled, type Filter } from "../src/filters";

const is = (dimension: string, ...values: string[]): Filter => ({ operator: "is", dimension, values });

test("a filter comes back from its text, whatever is in its values", () => {
  for (const values of [["/"], ["a,b", "c"], ["back\\slash", ",", "\\,"], ["ü & = ?#"], [" "]]) {
    for (const operator of OPERATORS) {
      const filter: Filter = { operator, dimension: "event:props:a,b", values };
      assert.deepEqual(filterFrom(filterText(filter)), filter);
    }
  }
});

test("what is no filter is none", () => {
  for (const text of ["", ",", "is", "is,page", "is,,x", "is,props:,x", "is,segment,x", "matches,goal,x", "is,__proto__,x"]) assert.equal(filterFrom(text), undefined, text);
});

test("a click asks for a value, another for it instead, the same for it no more", () => {
  const one = toggled([], "visit:country", "DE");
  assert.deepEqual(one, [is("visit:country", "DE")]);
  assert.ok(isChosen(one, "visit:country", "DE"));
  assert.deepEqual(toggled(one, "visit:country", "AT"), [is("visit:country", "AT")]);
  assert.deepEqual(toggled(one, "visit:country", "DE"), []);
});

test("with Shift a click asks for one value beside others", () => {
  const both = toggled(toggled([], "visit:country", "DE"), "visit:country", "AT", true);
  assert.deepEqual(both, [is("visit:country", "DE", "AT")]);
  assert.deepEqual(toggled(both, "visit:country", "DE", true), [is("visit:country", "AT")]);
  assert.deepEqual(toggled(both, "visit:country", "DE"), [is("visit:country", "DE")]);
});

test("a filter takes another's place, or the last", () => {
  const [a, b, c] = [is("visit:os", "a"), is("visit:os", "b"), is("visit:os", "c")];
  assert.deepEqual(put([a, b], 0, c), [c, b]);
  assert.deepEqual(put([a], -1, b), [a, b]);
  assert.deepEqual(put([a, b], 1, undefined), [a]);
  assert.deepEqual(put([a, b], -1, undefined), [a, b]);
});

test("the API is asked for parts of words whatever their capitals, and for segments by number", () => {
  assert.deepEqual(toApi([{ operator: "contains", dimension: "event:page", values: ["Blog"] }, is("segment", "3"), is("visit:os", "iOS")]), [
    ["contains", "event:page", ["Blog"], { case_sensitive: false }], ["is", "segment", [3]], ["is", "visit:os", ["iOS"]],
  ]);
});

test("a filter reads as a sentence", () => {
  const words = (filter: Filter) => Object.values(filterWords(filter, (id) => `Segment ${id}`)).join(" ");
  assert.equal(words(is("visit:country", "DE", "AT")), "Country is Germany or Austria");
  assert.equal(words(is("event:page", "/a", "/b", "/c", "/d")), "Page is /a or 3 others");
  assert.equal(words({ operator: "matches_not", dimension: "event:props:plan", values: ["^pro"] }), "plan does not match ^pro");
  assert.equal(words(is("segment", "3")), "Segment is Segment 3");
});

test("goals are asked for as the language allows it", () => {
  assert.deepEqual(operatorsFor("event:goal"), ["is", "contains"]);
  assert.ok(!canFilter("visit:source", "(other)"));
});
