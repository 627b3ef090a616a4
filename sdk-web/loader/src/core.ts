// The loader: gives each call its id and time at once, and keeps it until the main module takes over. If the page goes
// before, it hands what it has to a beacon, as JSON.

import type { Cart, Options, Place, Plugin, Properties, Wakeline } from "./api";
import type { Call, Entry, Made, Person, SdkModule, Setup, WireEvent } from "./event";
import { copyOrder, cleanProperties, warn } from "./values";

/** Characters of a beacon: at most three bytes each, of the 64 KiB that may outlive the page. */
const MAX_BEACON = 20_000;
/** Events that wait here at most. */
const MAX_QUEUE = 10_000;
/** Characters of a URL; of a longer one the event would be refused. */
const MAX_URL = 2_000;
/** When the main module is loaded at the latest, and again if that failed, in ms. */
const LOAD_AFTER = 1_000;
const LOAD_AGAIN = 10_000;

const page = (globalThis as { document?: Document }).document;

const hex = (bytes: number) =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => (byte + 256).toString(16).slice(1)).join("");

/** What the document says itself: elements of the page may have this name and hide it. */
const said = (name: "title" | "referrer"): string => (page ? Reflect.get(Document.prototype, name, page) : "");

/** Starts recording. `load` gets the main module. */
export const start = (options: Options & { collector: string }, load: () => Promise<SdkModule>): Wakeline => {
  const { key, persistence } = options;
  const stream = hex(8);
  let seq = 0;
  let url: string | undefined;
  let referrer = "";
  let place: Place | undefined;
  let loading: Promise<void> | undefined;
  /** It is known whose the events are. */
  let opened: boolean | undefined;
  const defaults = {};
  const plugins: Plugin[] = [];

  const pageUrl = () =>
    // A sandbox's or a worker's own address is none: the page has to say where it is.
    (place?.url ?? (page && /^[^abd]/.test(location.href) ? location.href : ""))
      .split(options.hash ? "\n" : "#")[0]!
      .slice(0, MAX_URL);

  /** Gives the event its number. */
  const enqueue = (event: WireEvent, person = setup.person) => {
    if (setup.consent == "denied") return;
    const entry: Entry = [seq++, performance.now(), event, person];
    setup.log(entry[0], event);
    // What is over it shows as a gap in the stream's numbers.
    if (!setup.queue[MAX_QUEUE]) {
      setup.queue.push(entry);
      store(entry);
      setup.sink?.record(entry);
    }
  };

  /** A page that crashes says no word: what it leaves is stored before a call returns, each event by itself. */
  const store = (entry: Entry) => {
    try {
      if (opened && setup.durable && setup.allowed()) {
        localStorage.setItem(setup.prefix + stream + "." + entry[0], Date.now() + "," + json(entry));
      }
    } catch {}
  };

  /** A page's first look into storage takes longer than all else here: it has a task of its own, after the start. */
  const open = () => {
    if (opened) return;
    opened = true;
    if (setup.allowed() && persistence != "none") {
      // An install id, and the day of its first event in days since 1970: those that are stored, or new ones.
      let install = `${hex(11)}.${(Date.now() / 864e5) | 0}`;
      try {
        if (setup.durable) {
          const found = localStorage.wakeline;
          if (/^[\w-]{22}\.\d+$/.test(found)) install = found;
          else {
            setup.fresh = true;
            localStorage.wakeline = install;
          }
        }
      } catch {}
      // The events that wait have this very object.
      [setup.person.visitor, setup.day] = install.split(".") as [string, string];
    }
    setup.queue.forEach(store);
  };

  const record = (made: Made, person?: Person) => {
    let event: WireEvent | null | undefined = {
      ...made,
      properties: { ...defaults, ...cleanProperties(made.properties ?? {}) },
      url: pageUrl(),
      referrer,
      title: place?.title ?? said("title"),
    };
    for (const plugin of plugins) if (!(event = plugin(event) as typeof event)) return;
    enqueue(event, person);
  };

  const safely =
    <A extends unknown[]>(call: (...args: A) => void) =>
    (...args: A) => {
      try {
        call(...args);
      } catch (error) {
        warn("call refused", error);
        // So that it is counted: a reason is thrown by its name.
        enqueue({ type: "refused", name: error + "", properties: {} });
      }
    };

  const json = ([seq, at, event, person]: Entry) =>
    // An age: no wall clock is right everywhere.
    JSON.stringify({ id: `${stream}.${seq}`, age: Math.round(performance.now() - at), ...person, ...event })
      // A server's JSON parser refuses half of a surrogate pair, and all events with it. Only such halves are escaped
      // so; what follows two backslashes is text.
      .replace(/\\\\|\\ud.../g, (found) => (found[2] ? "\ufffd" : found));

  const view = (given?: Place) => {
    place = given;
    const next = pageUrl();
    if (next != url) {
      referrer = (place?.referrer ?? url ?? said("referrer")).slice(0, MAX_URL);
      url = next;
    }
    record({ type: "page_view" });
  };

  const typed = (type: string) => safely((cart: Cart) => record({ type, order: copyOrder(cart) }));
  /** The main module has it. */
  const later =
    (name: Call[0]) =>
    (...args: unknown[]) => {
      setup.calls.push([name, ...args]);
      void connect();
    };

  const setup: Setup = {
    ...options,
    // Some browsers say that their user objects.
    consent:
      options.consent ??
      ((navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl || navigator.doNotTrack == "1"
        ? "denied"
        : undefined),
    stream,
    person: { visitor: "", consent: options.consent },
    day: "",
    queue: [],
    calls: [],
    prefix: `wakeline_${key}_`,
    address: `${options.collector}1/events?k=${key}`,
    durable: !/^[nm]/.test(persistence!),
    client: {
      key,
      track: safely((name: string, properties?: Properties) => record({ type: "custom", name: name + "", properties })),
      page: safely(view),
      identify: safely((user: string, properties?: Properties) => {
        if (!user) throw "invalid_visitor";
        open();
        setup.person = { ...setup.person, user: user + "" };
        record({ type: "identify", properties });
      }),
      alias: later("alias"),
      group: later("group"),
      productView: safely((properties: object) => record({ type: "product_view", properties })),
      cart: typed("cart"),
      checkout: typed("checkout"),
      order: typed("order"),
      set: safely((properties: Properties) => Object.assign(defaults, properties)),
      use: safely((plugin: Plugin) => plugins.push(plugin)),
      reset: later("reset"),
      setConsent: later("setConsent"),
      flush: async () => {
        await connect();
        await setup.sink?.flush();
      },
      debug: options.debug!,
    },
    allowed: () => !/^[dp]/.test(setup.consent!),
    log: (...what) => {
      if (setup.client.debug) console.log("wakeline", ...what);
    },
    record: safely(record),
    // A replaced state is a view only on another path: sites keep filters and positions in the query.
    routed: safely((replaced) => {
      const path = (url: string) => (replaced ? url.split("?")[0] : url);
      if (path(pageUrl()) != path(url as string)) view();
      else url = pageUrl();
    }),
    safely,
    json,
    keep: () => setup.queue.forEach(store),
  };

  const leave = () => {
    open();
    setup.sink?.settle();
    if (!setup.allowed()) return;
    // What a beacon takes is kept all the same: nobody sees its answer. Copies are told by their ids.
    let body = "";
    for (const text of [...setup.queue.map(json), ""]) {
      if (body && (!text || body.length + text.length > MAX_BEACON)) {
        navigator.sendBeacon(setup.address, `[${body}]`);
        body = "";
      }
      body += (body && ",") + text;
    }
  };

  const connect = () => {
    // Who said no waits for another word.
    if (setup.consent == "denied" && !setup.calls[0]) return;
    return (loading ??= (async () => {
      open();
      try {
        setup.sink = await (await load()).start(setup);
      } catch (error) {
        warn("not loaded", error);
        loading = undefined;
        setTimeout(connect, LOAD_AGAIN);
      }
    })());
  };

  if (options.pageViews + "" != "false" && pageUrl()) {
    for (const name of ["pushState", "replaceState"] as const) {
      const original = history[name];
      history[name] = function (...args) {
        original.apply(this, args);
        setup.routed(name == "replaceState");
      };
    }
    addEventListener("popstate", () => setup.routed(false));
    const first = () => setup.client.page();
    // A page that is prepared in the background may never be seen.
    if ((page as { prerendering?: boolean }).prerendering) addEventListener("prerenderingchange", first, true);
    else first();
  }

  // Who comes back was only sent a copy.
  for (const type of ["pagehide", "visibilitychange"]) addEventListener(type, safely(leave));
  // An image may hang for long: what would be sent without the main module by now, loads it.
  addEventListener("load", connect);
  setTimeout(connect, LOAD_AFTER);
  setTimeout(open);
  return setup.client;
};
