import assert from "node:assert/strict";
import { test } from "node:test";
import { reachedBy, ruleOf } from "../src/goals";

test("a form becomes the rule it says, and a rule is told in words", () => {
  assert.deepEqual(ruleOf("page", " /thanks* "), { page: "/thanks*" });
  assert.deepEqual(ruleOf("event", "signup"), { event: "signup" });
  const filter = ["is", "event:name", ["order"]];
  assert.deepEqual(ruleOf("filter", JSON.stringify(filter)), { filter });
  assert.equal(reachedBy({ page: "/thanks*" }, "Thanks"), "Views of /thanks*");
  assert.equal(reachedBy(undefined, "order"), "Every event “order”");
});

test("a filter that is no JSON is refused in words", () => {
  assert.throws(() => ruleOf("filter", "is order"), /no JSON/);
});
