import assert from "node:assert/strict";
import { test } from "node:test";
import { Messages } from "../src/fetch-source";

test("messages are read however the stream is cut", () => {
  const stream = 'event: now\ndata: {"visitors":1}\n\n: silence\n\nevent: changed\r\ndata: {}\r\n\r\ndata: a\ndata: b\n\nevent: half\ndata: x';
  for (let size = 1; size <= stream.length; size += 1) {
    const told: string[] = [];
    const messages = new Messages((type, data) => told.push(`${type} ${data}`));
    for (let at = 0; at < stream.length; at += size) messages.add(stream.slice(at, at + size));
    assert.deepEqual(told, ['now {"visitors":1}', "changed {}", "message a\nb"], `cut at ${size}`);
  }
});
