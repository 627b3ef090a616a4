import assert from "node:assert/strict";
import { test } from "node:test";
import { counted, differences, entries, obedience, onlyBreaks, wrongWithSchema, type Preview, type Rules, type RulesInForce } from "../src/rules";

const RULES: Rules = {
  bots: { crawlers: true, automation: false, libraries: false, datacentres: false },
  spam: true,
  hosts: [],
  origins: [],
  blocked_paths: [],
  capture: [],
  sample_percent: 100,
  limits: { ip_per_minute: 0, key_per_minute: 0, site_per_minute: 0, per_day: 0 },
  urls: { keep_parameters: [], trim_trailing_slash: false, lower_case_paths: false },
  redact: { email: "off", card: "off", phone: "off" },
  schemas: [],
};

test("what changed is named by its key, and nothing else is", () => {
  assert.deepEqual(differences(RULES, RULES), []);
  const after = { ...RULES, hosts: ["a.example", "b.example"], limits: { ...RULES.limits, per_day: 5 } };
  assert.deepEqual(differences(RULES, after), [
    { key: "hosts", before: "", after: "a.example, b.example" },
    { key: "limits.per_day", before: "0", after: "5" },
  ]);
});

test("a list has an entry in each line", () => {
  assert.deepEqual(entries(" a \n\n b"), ["a", "b"]);
});

test("how many collectors obey is said in words", () => {
  const at = (connected: number, in_force: number): RulesInForce =>
    ({ version: 7, created_at: 0, changed_by: "", rules: RULES, collectors: { connected, in_force } });
  assert.equal(obedience(at(2, 2)), "2 of 2 collectors run version 7");
  assert.equal(obedience(at(1, 0)), "0 of 1 collector runs version 7");
  assert.match(obedience(at(0, 0)), /No collector/);
});

test("a preview that ran out of time says at least", () => {
  const changes = { events: 3, reasons: {}, samples: [] };
  const preview = { complete: false } as Preview;
  assert.equal(counted(preview, changes, String), "at least 3");
});

test("what breaks is said at its schema, and may be saved if nothing else is wrong", () => {
  const broken = { "schemas[1].schema.properties.plan.type": "\"string\" is gone", "schemas[1].schema.required": "\"a\" is new" };
  assert.equal(wrongWithSchema(broken, 1), 'properties.plan.type: "string" is gone; required: "a" is new');
  assert.equal(wrongWithSchema(broken, 0), "");
  assert.equal(wrongWithSchema({ "schemas[0].schema": "is no object" }, 0), "is no object");
  assert.ok(onlyBreaks(broken));
  assert.ok(!onlyBreaks({ ...broken, hosts: "x" }) && !onlyBreaks({ "schemas[0].schema": "is no object" }) && !onlyBreaks({}));
});
