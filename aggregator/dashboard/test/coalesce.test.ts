import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Coalescer } from "../src/coalesce";

/** Runs that end when told; time that passes when told. */
function bench(gap = 250) {
  mock.timers.enable({ apis: ["setTimeout"] });
  let now = 0;
  const runs: { end: () => void; signal: AbortSignal }[] = [];
  const coalescer = new Coalescer(
    (signal) => new Promise<void>((end) => runs.push({ end, signal })),
    () => gap,
    () => now,
  );
  return {
    coalescer,
    runs,
    pass(ms: number) {
      now += ms;
      mock.timers.tick(ms);
    },
    async end(run: number) {
      runs[run]?.end();
      await new Promise<void>((done) => setImmediate(done));
    },
  };
}

test("the first request runs at once", (context) => {
  const { coalescer, runs } = bench();
  context.after(() => mock.timers.reset());
  coalescer.request();
  assert.equal(runs.length, 1);
});

test("requests during a run lead to one more, after the gap", async (context) => {
  const { coalescer, runs, end, pass } = bench();
  context.after(() => mock.timers.reset());
  coalescer.request();
  for (let n = 0; n < 5; n += 1) coalescer.request();
  pass(10);
  assert.equal(runs.length, 1, "one at a time");
  await end(0);
  assert.equal(runs.length, 1);
  pass(249);
  assert.equal(runs.length, 1);
  pass(1);
  assert.equal(runs.length, 2);
  await end(1);
  pass(10_000);
  assert.equal(runs.length, 2, "nothing was asked for since");
});

test("a slow server is asked less often", async (context) => {
  const { coalescer, runs, end, pass } = bench();
  context.after(() => mock.timers.reset());
  coalescer.request();
  pass(2000);
  await end(0);
  coalescer.request();
  pass(1999);
  assert.equal(runs.length, 1);
  pass(1);
  assert.equal(runs.length, 2);
});

test("a restart gives up the run under way and doesn't wait", async (context) => {
  const { coalescer, runs, end, pass } = bench();
  context.after(() => mock.timers.reset());
  coalescer.request();
  coalescer.restart();
  assert.equal(runs.length, 2);
  assert.equal(runs[0]?.signal.aborted, true);
  await end(0);
  coalescer.request();
  pass(10_000);
  assert.equal(runs.length, 2, "the given-up run's end is not the end of the current one");
});

test("after a stop nothing runs", async (context) => {
  const { coalescer, runs, end, pass } = bench();
  context.after(() => mock.timers.reset());
  coalescer.request();
  coalescer.request();
  coalescer.stop();
  await end(0);
  pass(10_000);
  assert.equal(runs.length, 1);
});
