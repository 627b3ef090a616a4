import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { LiveConnection, type LiveHandlers, type Source } from "../src/live";

class FakeSource implements Source {
  closed = false;
  readonly #listeners = new Map<string, (event: MessageEvent<string>) => void>();
  addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void {
    this.#listeners.set(type, listener);
  }
  close(): void {
    this.closed = true;
  }
  emit(type: string, data = ""): void {
    this.#listeners.get(type)?.({ data } as MessageEvent<string>);
  }
}

function bench() {
  mock.timers.enable({ apis: ["setTimeout"] });
  const sources: FakeSource[] = [];
  const log: string[] = [];
  const handlers: LiveHandlers = {
    onEvent: (event) => log.push(`event ${event.path}`),
    onChanged: () => log.push("changed"),
    onNow: (visitors) => log.push(`now ${visitors}`),
    onState: (state) => log.push(state),
    onLost: () => log.push("lost"),
  };
  const connection = new LiveConnection("/live", handlers, () => sources[sources.push(new FakeSource()) - 1] as FakeSource, () => 1);
  return { connection, sources, log };
}

test("news are passed on, and those that can't be read are skipped", (context) => {
  const { connection, sources, log } = bench();
  context.after(() => mock.timers.reset());
  connection.connect();
  sources[0]?.emit("open");
  sources[0]?.emit("event", "{half");
  sources[0]?.emit("event", '{"path":"/a"}');
  sources[0]?.emit("changed", "{}");
  sources[0]?.emit("now", '{"visitors":4}');
  assert.deepEqual(log, ["connecting", "live", "changed", "event /a", "changed", "now 4"]);
});

test("a lost connection is made anew, more patiently each time, and what was missed is asked for", (context) => {
  const { connection, sources, log } = bench();
  context.after(() => mock.timers.reset());
  connection.connect();
  for (const wait of [500, 1000, 2000, 4000, 8000, 15_000, 15_000]) {
    const before = sources.length;
    sources.at(-1)?.emit("error");
    assert.equal(sources.at(-1)?.closed, true);
    mock.timers.tick(wait - 1);
    assert.equal(sources.length, before);
    mock.timers.tick(1);
    assert.equal(sources.length, before + 1);
  }
  log.length = 0;
  sources.at(-1)?.emit("open");
  assert.deepEqual(log, ["live", "changed"]);
  const before = sources.length;
  sources.at(-1)?.emit("error");
  mock.timers.tick(500);
  assert.equal(sources.length, before + 1, "success makes it impatient again");
});

test("a closed connection stays closed", (context) => {
  const { connection, sources } = bench();
  context.after(() => mock.timers.reset());
  connection.connect();
  sources[0]?.emit("error");
  connection.close();
  mock.timers.tick(60_000);
  assert.equal(sources.length, 1);
});
