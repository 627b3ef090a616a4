// The loader: gives each call its id and time at once, and keeps it until the main module takes over. If the page goes
// before, it hands what it has to a beacon, as JSON.

import type { Cart, Consent, Options, Place, Plugin, Properties, Wakeline } from "./api";
import type { Entry, Made, Person, SdkModule, Setup, WireEvent } from "./event";
import { BEACON, LOAD_AFTER, LOAD_AGAIN, MAX_ID, MAX_QUEUE, MAX_URL } from "./limits";
import { copyOrder, cleanProperties, warn } from "./values";

const page = (globalThis as { document?: Document }).document;

const hex = (digits: number) =>
  [...crypto.getRandomValues(new Uint8Array(digits))].map((byte) => (byte & 15).toString(16)).join("");

/** What the document says itself: elements of the page may have this name and hide it. */
const said = (name: "title" | "referrer"): string => (page ? Reflect.get(Document.prototype, name, page) : "");

/** Starts recording. `load` gets the main module. */
export const start = (options: Options & { collector: string }, load: () => Promise<SdkModule>): Wakeline => {
  const { key, persistence } = options;
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
    ((place?.url ?? (page && /^[^abd]/.test(location.href) ? location.href : "")) + "")
      .split(options.hash ? "\n" : "#")[0]!
      .slice(0, MAX_URL);

  /** Gives the event its number. */
  const enqueue = (event: WireEvent, person = setup.person) => {
    if (setup.consent == "denied") return;
    const entry: Entry = [seq, performance.now(), event, person];
    json(entry); // what can't be written is refused here, and no other event with it
    seq++;
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
        localStorage.setItem(setup.prefix + setup.stream + "." + entry[0], Date.now() + "," + json(entry));
      }
    } catch {}
  };

  /** A page's first look into storage takes longer than all else here: it has a task of its own, after the start. */
  const open = () => {
    if (opened || !setup.allowed()) return;
    opened = true;
    if (persistence != "none") {
      // An install id, and the day of its first event in days since 1970: those that are stored, or new ones.
      let install = `${hex(22)}.${(Date.now() / 864e5) | 0}`;
      try {
        if (setup.durable) {
          const found = localStorage.wakeline;
          if (/^.{22}\.\d+$/.test(found)) install = found;
          else {
            setup.fresh = true;
            localStorage.wakeline = install;
          }
        }
      } catch {}
      [setup.person.visitor, setup.day] = install.split(".") as [string, string];
    }
    setup.queue.forEach(store);
  };

  /** Nobody is known any more, and what is stored under such names is gone. */
  const forget = (names: RegExp) => {
    opened = false;
    setup.forgotten = true;
    setup.person = { visitor: "" };
    try {
      for (const name in localStorage) if (names.test(name)) delete localStorage[name];
    } catch {}
  };

  /** The person, or what was agreed to, is new. */
  const turn = () => {
    open();
    setup.sink?.turned();
    void begin();
  };

  const record = (made: Made, person?: Person) => {
    let event: WireEvent | null | undefined = {
      ...made,
      properties: cleanProperties(made.properties ?? {}, cleanProperties(defaults)),
      url: pageUrl(),
      referrer,
      title: (place?.title ?? said("title")) + "",
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
    // An age: no wall clock is right everywhere. Only what is allowed is written.
    JSON.stringify({ id: `${setup.stream}.${seq}`, age: (performance.now() - at) >>> 0, consent: setup.consent, ...person, ...event })
      // A server's JSON parser refuses half of a surrogate pair, and all events with it. Only such halves are escaped
      // so; what follows two backslashes is text.
      .replace(/\\\\|\\ud.../g, (found) => (found[2] ? "\ufffd" : found));

  const view = (given?: Place) => {
    place = given;
    const next = pageUrl();
    if (next != url) {
      referrer = ((place?.referrer ?? url ?? said("referrer")) + "").slice(0, MAX_URL);
      url = next;
    }
    record({ type: "page_view" });
  };

  const typed = (type: string) => safely((cart: Cart) => record({ type, order: copyOrder(cart) }));
  const setup: Setup = {
    ...options,
    // Some browsers say that their user objects.
    consent:
      options.consent ??
      ((navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl || navigator.doNotTrack == "1"
        ? "denied"
        : undefined),
    stream: hex(16),
    person: { visitor: "" },
    day: "",
    queue: [],
    prefix: `wakeline_${key}_`,
    address: `${options.collector}1/events?k=${key}`,
    durable: !/^[nm]/.test(persistence!),
    client: {
      key,
      track: safely((name: string, properties?: Properties) => record({ type: "custom", name: name + "", properties })),
      page: safely(view),
      identify: safely((user: string, properties?: Properties) => {
        const id = user + "";
        if (!user || id[MAX_ID]) throw "user id";
        open();
        setup.person = { ...setup.person, user: id };
        record({ type: "identify", properties });
      }),
      alias: safely((user: string, visitor: string) =>
        record({ type: "identify" }, { ...setup.person, user: user + "", visitor: visitor + "" }),
      ),
      group: safely((id: string, properties?: Properties) =>
        record({ type: "custom", name: "group", properties: { ...properties, "group.id": id + "" } }),
      ),
      productView: safely((properties: object) => record({ type: "product_view", properties })),
      cart: typed("cart"),
      checkout: typed("checkout"),
      order: typed("order"),
      set: safely((properties: Properties) => Object.assign(defaults, properties)),
      use: safely((plugin: Plugin) => plugins.push(plugin.bind(0))),
      reset: safely(() => {
        open(); // what came before is of whoever is stored
        setup.sink?.settle();
        forget(/^wakeline$/);
        turn();
      }),
      setConsent: safely((answer: Consent) => {
        setup.consent = (answer + "") as Consent;
        if (answer == "denied") {
          setup.queue = [];
          // What is destroyed is no loss to be stated, nor a way to tell who comes back.
          setup.stream = hex(16);
          seq = 0;
          forget(/^wakeline/);
          void connect();
        }
        turn();
      }),
      flush: async () => {
        await begin();
        await setup.sink?.flush();
      },
      debug: options.debug!,
    },
    allowed: () => (setup.consent ?? "granted") == "granted",
    log() {},
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
    // What a beacon takes is kept all the same: nobody sees its answer. Copies are told by their ids.
    for (let at = 0; setup.allowed() && setup.queue[at]; at += BEACON) {
      navigator.sendBeacon(setup.address, `[${setup.queue.slice(at, at + BEACON).map(json)}]`);
    }
  };

  const connect = () =>
    (loading ??=
      (open(),
      load()
        .then((module) => module.start(setup))
        .catch((error: unknown) => {
          warn("not loaded", error);
          loading = undefined;
          setTimeout(connect, LOAD_AGAIN);
        })));

  /** Who said no waits for another word. */
  const begin = () => setup.consent != "denied" && connect();

  if (options.pageViews + "" != "false" && pageUrl()) {
    for (const name of ["pushState", "replaceState"] as const) {
      const original = history[name];
      history[name] = (...args) => {
        original.apply(history, args);
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
  // Not in the task in which the page does what it does at `load`. An image may hang for long: what would be sent without the
  // main module by now, loads it.
  addEventListener("load", () => setTimeout(begin));
  setTimeout(begin, LOAD_AFTER);
  setTimeout(open);
  return setup.client;
};
