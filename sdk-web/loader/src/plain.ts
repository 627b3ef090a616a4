// Without WebAssembly: sends JSON, under the ids that the loader gave.

import type { Entry, Setup, Sink } from "./event";
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
  let keeping: typeof timer;
  let stopped = false;
  /** In the loader's queue, which it hands to a beacon when the page goes. */
  let queue: Entry[] = setup.queue;

  const chunk = () => {
    const texts: string[] = [];
    let length = 0;
    for (const entry of queue.slice(0, most)) {
      const text = setup.json(entry);
      length += text.length + 1;
      if (length > MAX_LENGTH && texts[0]) break;
      texts.push(text);
    }
    return texts;
  };

  const keep = () => {
    if (queue[0]) setup.keep();
    else localStorage.removeItem(setup.kept);
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
      queue.splice(0, texts.length);
      most = MAX_EVENTS;
    } else if (status < 429) {
      warn("key refused", status);
      return PAUSE;
    } else return RETRY_AFTER;
    return 0;
  };

  const sendLater = (delay: number) => {
    if (stopped || !queue[0]) return;
    // Set until its request is answered: one at a time.
    timer ??= setTimeout(async () => {
      const wait = await post().catch(() => RETRY_AFTER);
      timer = undefined;
      if (stopped) return;
      try {
        keep();
      } catch {
        // Nothing can be stored.
      }
      sendLater(wait);
    }, delay);
  };

  return {
    record(entry) {
      queue = setup.queue;
      queue.push(entry);
      clearTimeout(keeping);
      keeping = setTimeout(setup.keep);
      sendLater(SEND_AFTER);
    },
    flush() {
      queue = setup.queue;
      sendLater(0);
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
      clearTimeout(keeping);
    },
  };
};
