// The loader: gives each call its id and time at once, and keeps it until the WebAssembly client takes over. If that
// can't be loaded, it sends JSON itself; if the page goes before, it hands what it has to a beacon.

import type { Cart, Options, Product, Properties, Wakeline } from "./api";
import type { Entry, SdkModule, Setup, Sink, WireEvent } from "./event";
import { cleanOrder, cleanProperties, warn } from "./values";

/** Events of a JSON request: with the longest texts that pages have, they stay below what a page may leave behind. */
const MAX_EVENTS = 50;
/** Longest request that may outlive the page: twice as many bytes are the limit. */
const MAX_KEEPALIVE = 30_000;
/** Longest URL and title; longer ones would have the event refused. */
const MAX_URL = 2_000;
const MAX_TITLE = 500;
/** Between an event and the JSON request that carries it, and after a failed one, in ms. */
const SEND_AFTER = 1_000;
const RETRY_AFTER = 10_000;

const random = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes));

/** The install id and its first day. Where nothing can be stored, the page has one of its own. */
const installed = () => {
  const name = "wakeline";
  let known;
  try {
    known = localStorage.getItem(name);
  } catch {}
  if (!/^[\w-]{22}\.\d+$/.test(known ?? "")) {
    const id = btoa(String.fromCharCode(...random(16))).slice(0, 22);
    known = `${id.replace(/\+/g, "-").replace(/\//g, "_")}.${Math.floor(Date.now() / 864e5)}`;
    try {
      localStorage.setItem(name, known);
    } catch {}
  }
  return known as string;
};

/** Whether the browser says that its user objects. */
const objects = () =>
  (navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl || navigator.doNotTrack == "1";

const pageUrl = () => (location.href.split("#")[0] as string).slice(0, MAX_URL);

/**
 * Starts recording. `load` gets the WebAssembly client.
 */
export const start = (options: Options, load: () => Promise<SdkModule>): Wakeline => {
  const silent = !options.ignoreGpc && objects();
  const setup: Setup = {
    key: options.key,
    collector: options.collector as string,
    stream: silent ? "" : Array.from(random(8), (byte) => (byte + 256).toString(16).slice(1)).join(""),
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
  let failed = false;
  let hurry = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const record = (event: WireEvent) => {
    const title = document.title.slice(0, MAX_TITLE);
    const entry: Entry = [seq++, performance.now(), { ...event, url: pageUrl(), referrer, title, user }];
    setup.log(entry[0], event);
    try {
      if (sink) return sink.record(entry);
    } catch (error) {
      fail(error);
    }
    queue.push(entry);
    if (failed) sendLater(SEND_AFTER);
  };

  const json = (entries: Entry[]) =>
    JSON.stringify(
      entries.map(([seq, at, event]) => ({
        id: `${setup.stream}.${seq}`,
        time: new Date(Date.now() - performance.now() + at).toISOString(),
        visitor: setup.install.slice(0, 22),
        ...event,
      })),
      function (this: Record<string, unknown>, name, value: unknown) {
        if (this[name] instanceof Date) return { timestamp: value };
        // A server's JSON parser refuses half of a surrogate pair, and all events with it.
        return (value as { toWellFormed?(): string } | null)?.toWellFormed?.() ?? value;
      },
    );
  const address = () => `${setup.collector}1/events?k=${encodeURIComponent(setup.key)}`;

  const sendLater = (delay: number) => {
    // Set until its request is answered: one at a time.
    timer ??= setTimeout(async () => {
      const entries = queue.slice(0, MAX_EVENTS);
      let answered = false;
      try {
        const body = json(entries);
        const { status } = await fetch(address(), {
          method: "POST",
          body, // a text: sent as text/plain, which needs no preflight
          credentials: "omit",
          keepalive: body.length < MAX_KEEPALIVE,
        });
        answered = status < 500 && status != 429;
      } catch {}
      timer = undefined;
      if (answered) queue = queue.filter((entry) => !entries.includes(entry));
      if (queue.length) sendLater(answered ? 0 : RETRY_AFTER);
    }, delay);
  };

  const leave = () => {
    // What a beacon took is kept all the same: nobody sees its answer. Copies are told by their ids.
    for (let i = 0; i < queue.length; i += MAX_EVENTS) {
      navigator.sendBeacon(address(), json(queue.slice(i, i + MAX_EVENTS)));
    }
  };

  const fail = (error: unknown) => {
    warn("works without WebAssembly", error);
    failed = true;
    sink = undefined;
    if (queue.length) sendLater(0);
  };

  const view = () => {
    const next = pageUrl();
    if (next != url) {
      referrer = (url ?? document.referrer).slice(0, MAX_URL);
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
        warn("a call was dropped: " + error, "");
      }
    };

  const wakeline: Wakeline = {
    track: safely((name: string, properties?: Properties) =>
      record({ type: "custom", name: String(name), properties: cleanProperties(properties) }),
    ),
    page: safely(view),
    identify: safely((id: string) => {
      user = String(id);
      record({ type: "identify" });
    }),
    productView: safely(({ sku, name, price, currency }: Product) =>
      record({ type: "product_view", properties: cleanProperties({ sku, name, price, currency }) }),
    ),
    cart: safely((cart: Cart) => record({ type: "cart", order: cleanOrder(cart) })),
    checkout: safely((cart: Cart) => record({ type: "checkout", order: cleanOrder(cart) })),
    order: safely((order: Cart) => record({ type: "order", order: cleanOrder(order) })),
    flush: safely(() => {
      hurry = true;
      sink?.flush();
    }),
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
      document.addEventListener("prerenderingchange", wakeline.page, { once: true });
    } else wakeline.page();
  }

  const leaving = safely(leave);
  addEventListener("pagehide", leaving);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState == "hidden") leaving();
  });

  const connect = async () => {
    try {
      const loaded = await (await load()).start(setup);
      for (const entry of queue) loaded.record(entry);
      sink = loaded;
      queue = [];
      if (hurry) sink.flush();
    } catch (error) {
      fail(error);
    }
  };
  const idle = () => (self.requestIdleCallback ?? setTimeout)(connect, { timeout: 2_000 } as number & object);
  if (document.readyState == "complete") idle();
  else addEventListener("load", idle);
  return wakeline;
};
