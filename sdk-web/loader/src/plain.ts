// Without WebAssembly: sends JSON, under the ids that the loader gave.

import type { Heard, Setup, Sink } from "./event";
import { claim, parse, type Left } from "./journal";
import { warn } from "./values";

/** Events and characters of a request: what outlives the page, requests and beacons together, may have 64 KiB. */
const MAX_EVENTS = 50;
const MAX_LENGTH = 20_000;
/** Between an event and the request that carries it, and after a failed one, in ms. */
const SEND_AFTER = 1_000;
const RETRY_AFTER = 10_000;
/** After a request that another one would not mend: a key that is refused. */
const PAUSE = 300_000;

/** Sends what pages that are gone have left in `localStorage`, under the ids it has. It stays until the server has it. */
const resend = async (setup: Setup) => {
  const left: Record<string, string[]> = {};
  for (const name of Object.keys(localStorage)) {
    const [stream = "", seq] = name.slice(setup.prefix.length).split(".");
    if (name.startsWith(setup.prefix) && seq && stream != setup.stream) (left[stream] ??= []).push(name);
  }
  const send = async (names: string[]): Promise<void> => {
    const events = names.flatMap((name) => {
      // Another page may have sent it meanwhile.
      const [at, event] = parse<[Left?]>(localStorage.getItem(name));
      return event ? [{ ...event, age: event.age + Math.max(0, Date.now() - at) }] : [];
    });
    if (!events[0]) return;
    const { status } = await fetch(setup.address, { method: "POST", body: JSON.stringify(events), credentials: "omit" });
    const spoilt = status == 400 || status == 413;
    const half = names.length >> 1;
    if (spoilt && half) {
      await send(names.slice(0, half));
      await send(names.slice(half));
    } else if (spoilt || status == 202) {
      // A single event that can't be read would never be.
      for (const name of names) localStorage.removeItem(name);
    } else throw status;
  };
  for (const stream in left) {
    let release = () => {};
    if (!(await claim(setup.prefix + stream, true, (free) => (release = free)))) continue;
    const names = left[stream]!;
    while (names[0]) await send(names.splice(0, MAX_EVENTS));
    release();
  }
};

export const start = (setup: Setup, heard: Heard): Sink => {
  let most = MAX_EVENTS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  let waiters: (() => void)[] = [];
  if (setup.durable) {
    void claim(setup.prefix + setup.stream, false, () => {});
    resend(setup).catch((error: unknown) => setup.log("what was left waits", error));
  }
  const chunk = () => {
    const texts: string[] = [];
    let length = 0;
    // They stay in the loader's queue, which it hands to a beacon when the page goes.
    for (const entry of setup.queue.slice(0, most)) {
      const text = setup.json(entry);
      length += text.length + 1;
      if (length > MAX_LENGTH && texts[0]) break;
      texts.push(text);
    }
    return texts;
  };

  const post = async () => {
    const texts = chunk();
    const sent = setup.queue.slice(0, texts.length);
    const response = await fetch(setup.address, {
      method: "POST",
      body: `[${texts}]`, // a text: sent as text/plain, which needs no preflight
      credentials: "omit",
      keepalive: true,
    });
    const { status } = response;
    setup.log("reply", status);
    const spoilt = status == 400 || status == 413;
    if (spoilt && texts[1]) most = texts.length >> 1;
    else if (spoilt || status == 202) {
      if (spoilt) warn("event dropped", texts);
      // What the page has withdrawn meanwhile is not there any more.
      setup.queue = setup.queue.filter((entry) => !sent.includes(entry));
      if (setup.durable) for (const [seq] of sent) localStorage.removeItem(`${setup.prefix}${setup.stream}.${seq}`);
      most = MAX_EVENTS;
      if (status == 202) await heard(JSON.stringify(((await response.json()) as { settings?: object }).settings ?? {}));
    } else if (status < 429) {
      warn("key refused", status);
      return PAUSE;
    } else return RETRY_AFTER;
    return 0;
  };

  const sendLater = (delay: number) => {
    if (stopped || !setup.queue[0] || !setup.allowed()) {
      for (const resolve of waiters.splice(0)) resolve();
      return;
    }
    // Set until its request is answered: one at a time.
    timer ??= setTimeout(async () => {
      const wait = await post().catch(() => RETRY_AFTER);
      timer = undefined;
      sendLater(wait);
    }, delay);
  };

  return {
    record: () => sendLater(SEND_AFTER),
    settle() {},
    flush: () =>
      new Promise((resolve) => {
        waiters.push(resolve);
        sendLater(0);
      }),
    stop() {
      stopped = true;
      clearTimeout(timer);
      sendLater(0);
    },
  };
};
