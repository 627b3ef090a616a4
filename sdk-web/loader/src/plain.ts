// Without WebAssembly: sends JSON, under the ids that the loader gave.

import type { Setup, Sink } from "./event";
import { warn } from "./values";

/** Events and characters of a request: what outlives the page, requests and beacons together, may have 64 KiB. */
const MAX_EVENTS = 50;
const MAX_LENGTH = 20_000;
/** Between an event and the request that carries it, and after a failed one, in ms. */
const SEND_AFTER = 1_000;
const RETRY_AFTER = 10_000;
/** After a request that another one would not mend: a key that is refused. */
const PAUSE = 300_000;

export const start = (setup: Setup): Sink => {
  let most = MAX_EVENTS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
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
    const { status } = await fetch(setup.address, {
      method: "POST",
      body: `[${texts}]`, // a text: sent as text/plain, which needs no preflight
      credentials: "omit",
      keepalive: true,
    });
    setup.log("reply", status);
    const spoilt = status == 400 || status == 413;
    if (spoilt && texts[1]) most = texts.length >> 1;
    else if (spoilt || status == 202) {
      if (spoilt) warn("event dropped", texts);
      setup.queue.splice(0, texts.length);
      most = MAX_EVENTS;
    } else if (status < 429) {
      warn("key refused", status);
      return PAUSE;
    } else return RETRY_AFTER;
    return 0;
  };

  const sendLater = (delay: number) => {
    if (stopped || !setup.queue[0]) return;
    // Set until its request is answered: one at a time.
    timer ??= setTimeout(async () => {
      const wait = await post().catch(() => RETRY_AFTER);
      timer = undefined;
      if (stopped) return;
      setup.keep();
      sendLater(wait);
    }, delay);
  };

  return {
    record: () => sendLater(SEND_AFTER),
    settle() {},
    flush: () => sendLater(0),
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
};
