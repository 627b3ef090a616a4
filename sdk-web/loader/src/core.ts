// The loader: gives each call its id and time at once, and keeps it until the WebAssembly client takes over. If that
// can't be loaded, it sends JSON itself; if the page goes before, it hands what it has to a beacon.

import type { Cart, Options, Product, Properties, Wakeline } from "./api";
import type { Entry, SdkModule, Setup, Sink, WireEvent } from "./event";
import { cleanOrder, cleanProperties, warn } from "./values";

/** Events and bytes of a JSON request: what outlives the page, requests and beacons together, may have 64 KiB. */
const MAX_EVENTS = 50;
const MAX_BYTES = 30_000;
/** Events that wait here at most. */
const MAX_QUEUE = 10_000;
const MAX_USER_BYTES = 128;
/** Longest URL and title; longer ones would have the event refused. */
const MAX_URL = 2_000;
const MAX_TITLE = 500;
/** Between an event and the JSON request that carries it, and after a failed one, in ms. */
const SEND_AFTER = 1_000;
const RETRY_AFTER = 10_000;
/** After a request that another one would not mend: a key that is refused. */
const PAUSE = 300_000;

const random = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes));

/** The install id and its first day. Where nothing can be stored, the page has one of its own. */
const installed = () => {
  const name = "wakeline";
  const id = btoa(String.fromCharCode(...random(16))).slice(0, 22);
  let known = `${id.replace(/\W/g, "-")}.${Math.floor(Date.now() / 864e5)}`;
  try {
    const found = localStorage[name];
    if (/^[\w-]{22}\.\d+$/.test(found)) known = found;
    else localStorage[name] = known;
  } catch {}
  return known;
};

/** Whether the browser says that its user objects. */
const objects = () =>
  (navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl || navigator.doNotTrack == "1";

/** What the document says itself: elements of the page may have this name and hide it. */
const said = (name: "title" | "referrer"): string =>
  Reflect.get(Document.prototype, name, document);

const bytes = (text: string) => new Blob([text]).size;

const pageUrl = () => (location.href.split("#")[0] as string).slice(0, MAX_URL);

/**
 * Starts recording. `load` gets the WebAssembly client.
 */
export const start = (options: Options, load: () => Promise<SdkModule>): Wakeline => {
  const silent = objects();
  const setup: Setup = {
    ...(options as Options & { collector: string }),
    stream: Array.from(random(8), (byte) => (byte + 256).toString(16).slice(1)).join(""),
    install: silent ? "" : installed(),
    log: (...what) => {
      if (wakeline.debug) console.log("wakeline", ...what);
    },
  };
  let queue: Entry[] = [];
  let seq = 0;
  let user: string | undefined;
  let url: string | undefined;
  let referrer = "";
  let sink: Sink | undefined;
  let most = MAX_EVENTS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** A page that crashes says no word: what is queued is kept once for all events of a task. */
  let keeping: typeof timer;

  const record = (event: WireEvent) => {
    const title = said("title").slice(0, MAX_TITLE);
    const entry: Entry = [seq++, performance.now(), { ...event, url: pageUrl(), referrer, title, user }];
    setup.log(entry[0], event);
    try {
      if (sink) return sink.record(entry);
    } catch (error) {
      fail(error);
    }
    // What is over it shows as a gap in the stream's numbers.
    if (queue.length < MAX_QUEUE) queue.push(entry);
    clearTimeout(keeping);
    keeping = setTimeout(keep);
    sendLater(SEND_AFTER);
  };

  // Without WebAssembly.
  const json = ([seq, at, event]: Entry) =>
    JSON.stringify(
      {
        id: `${setup.stream}.${seq}`,
        // No wall clock is right everywhere.
        age: Math.round(performance.now() - at),
        visitor: setup.install.slice(0, 22),
        ...event,
      },
      function (this: Record<string, unknown>, name, value: unknown) {
        if (this[name] instanceof Date) return { timestamp: value };
        // A server's JSON parser refuses half of a surrogate pair, and all events with it.
        return (value as { toWellFormed?(): string } | null)?.toWellFormed?.() ?? value;
      },
    );
  /** The events from this place on that fit a request: one at least, if there is one. */
  const chunk = (from: number, most: number) => {
    const texts: string[] = [];
    let size = 0;
    for (const entry of queue.slice(from, from + most)) {
      const text = json(entry);
      size += bytes(text) + 1;
      if (size > MAX_BYTES && texts[0]) break;
      texts.push(text);
    }
    return texts;
  };
  const address = () => `${setup.collector}1/events?k=${setup.key}`;

  const sendLater = (delay: number) => {
    // Set until its request is answered: one at a time.
    if (queue[0]) timer ??= setTimeout(async () => {
      delay = RETRY_AFTER;
      const sending = queue;
      try {
        const texts = chunk(0, most);
        const body = `[${texts}]`;
        const { status } = await fetch(address(), {
          method: "POST",
          body, // a text: sent as text/plain, which needs no preflight
          credentials: "omit",
          keepalive: body.length < MAX_BYTES,
        });
        const spoilt = status == 400 || status == 413;
        if (spoilt || status == 202) {
          delay = 0;
          if (spoilt && texts[1]) most = texts.length >> 1;
          else {
            if (spoilt) warn("event dropped", texts);
            sending.splice(0, texts.length);
            most = MAX_EVENTS;
          }
        } else if (status < 429) {
          warn("key refused", status);
          delay = PAUSE;
        }
      } catch {}
      timer = undefined;
      sendLater(delay);
    }, delay);
  };

  /** What the next page has to send, as long as this one may go without having sent it. */
  const keep = () => {
    try {
      const name = `wakeline_${setup.key}_${setup.stream}`;
      if (queue[0]) localStorage[name] = [Date.now(), ...queue.map(json)];
      else delete localStorage[name];
    } catch {}
  };

  const leave = () => {
    keep();
    // What a beacon took is kept all the same: nobody sees its answer. Copies are told by their ids.
    let from = 0;
    for (let texts; (texts = chunk(from, MAX_EVENTS))[0] && navigator.sendBeacon(address(), `[${texts}]`); ) {
      from += texts.length;
    }
  };

  const fail = (error: unknown) => {
    warn("no wasm", error);
    sink = undefined;
    sendLater(0);
  };

  const view = () => {
    const next = pageUrl();
    if (next != url) {
      referrer = (url ?? said("referrer")).slice(0, MAX_URL);
      url = next;
    }
    record({ type: "page_view" });
  };

  const safely =
    <A extends unknown[]>(call: (...args: A) => void) =>
    (...args: A) => {
      try {
        if (!silent) call(...args);
      } catch (error) {
        warn("call dropped", error);
      }
    };

  const ordering = (type: string) => safely((cart: Cart) => record({ type, order: cleanOrder(cart) }));

  const wakeline: Wakeline = {
    track: safely((name: string, properties?: Properties) =>
      record({ type: "custom", name: name + "", properties: cleanProperties(properties) }),
    ),
    page: safely(view),
    identify: safely((id: string) => {
      if (typeof id != "string" || !id || bytes(id) > MAX_USER_BYTES) throw "no user";
      user = id;
      record({ type: "identify" });
    }),
    productView: safely((product: Product) =>
      record({ type: "product_view", properties: cleanProperties(product) }),
    ),
    cart: ordering("cart"),
    checkout: ordering("checkout"),
    order: ordering("order"),
    flush: safely(() => sink?.flush()),
    debug: !!options.debug,
  };
  if (silent) return wakeline;

  if (options.pageViews != false) {
    // A replaced state is a view only on another path: sites keep filters and positions in the query.
    const routed = safely((replaced: boolean) => {
      const next = pageUrl();
      const path = (url: string) => (replaced ? url.split("?")[0] : url);
      if (path(next) != path(url as string)) view();
    });
    for (const name of ["pushState", "replaceState"] as const) {
      const original = history[name];
      history[name] = function (...args) {
        original.apply(this, args);
        routed(name == "replaceState");
      };
    }
    addEventListener("popstate", () => routed(false));
    addEventListener("pageshow", (event) => {
      if (event.persisted) wakeline.page();
    });
    // A page that is prepared in the background may never be seen.
    if ((document as { prerendering?: boolean }).prerendering) {
      addEventListener("prerenderingchange", wakeline.page, true);
    } else wakeline.page();
  }

  const leaving = safely(leave);
  addEventListener("pagehide", leaving);
  addEventListener("visibilitychange", () => {
    if (document.hidden) leaving();
  });

  let loading: Promise<SdkModule> | undefined;
  const connect = async () => {
    if (loading) return;
    try {
      const loaded = await (await (loading = load())).start(setup);
      for (const entry of queue) loaded.record(entry);
      sink = loaded;
      queue = [];
      clearTimeout(timer);
      timer = undefined;
      keep();
      sink.flush(); // all has waited
    } catch (error) {
      fail(error);
    }
  };
  // An image may hang for long: what would be sent without the client by now, starts it.
  addEventListener("load", connect);
  setTimeout(connect, document.readyState == "complete" ? 0 : SEND_AFTER);
  return wakeline;
};
