import assert from "node:assert/strict";
import { test } from "node:test";
import { csv, fileName } from "../src/csv";

test("fields are quoted where they must be", () =>
  assert.equal(csv([["page", "visitors"], ["/a,b", 3], ['say "hi"', null], ["two\nlines", 0]]), 'page,visitors\r\n"/a,b",3\r\n"say ""hi""",\r\n"two\nlines",0\r\n'));

test("what a spreadsheet would take for a formula is a text", () =>
  assert.equal(csv([["=HYPERLINK(1)", "@x", "-1", -1, "+49"]]), "'=HYPERLINK(1),'@x,'-1,-1,'+49\r\n"));

test("file names have no path in them", () => assert.equal(fileName("shop.example", "a/b\\c", "1 – 2 Jan"), "shop.example a-b-c 1 - 2 Jan.csv"));
