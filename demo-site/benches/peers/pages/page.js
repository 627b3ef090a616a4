// The same page for every client: starts it, and says how long that took.

import { load } from "client";

const calls = [];
const timed = (call) => {
  const start = performance.now();
  const result = call();
  return [performance.now() - start, result];
};
const pick = (n, ...of) => of[n % of.length];
const tasks = [];
new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration))).observe({
  type: "longtask",
  buffered: true,
});

const start = await load();
const [init, client] = timed(() => start(settings.collector));

const properties = (n) => ({
  position: n,
  label: pick(n, "red", "blue", "cast iron", "0.8 l", "gift"),
  price: pick(n, 19.99, 24.5, 39),
  in_stock: n % 3 == 0,
  list: "recommendations",
});
const names = ["filter_changed", "image_viewed", "variant_selected", "tooltip_opened"];
const event = (n) => client.track(pick(n, ...names), properties(n));

window.peer = {
  /** A view and twenty events, in one task. */
  atOnce() {
    client.view();
    for (let n = 0; n < 20; n++) event(n);
  },
  /** A view and twenty events, each in a task of its own; `done` when all were called. */
  async inTurn(pause) {
    client.view();
    for (let n = 0; n < 20; n++) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      calls.push(timed(() => event(n))[0]);
    }
    peer.done = true;
  },
  /** Twenty events that can be told from each other in whatever is sent, in one task. */
  marked() {
    for (let n = 0; n < 20; n++) client.track("marked", { mark: `ev${100 + n}x` });
  },
  times: () => ({ init, call: calls.toSorted((a, b) => a - b)[calls.length >> 1] ?? 0, tasks }),
};
