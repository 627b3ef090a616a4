// The browser around the WebAssembly client: clocks, timers, network, storage. It decides nothing.

import { connect } from "./border";
import type { Entry, Heard, Person, Setup, Sink } from "./event";
import { fit } from "./fit";
import { openJournal, pause } from "./journal";
import { willOf } from "./later";
import { warn } from "./values";

/** Name of the built WebAssembly file beside this module. */
declare const WASM_FILE: string;

/** What `step` gives when a batch is to be sent. */
const SEND = -1;
/** All beacons and keepalive requests of a page together may have 64 KiB. */
const MAX_BEACON_BYTES = 60 << 10;
/** A request this small may outlive its page, and leaves room for beacons. */
const MAX_KEEPALIVE_BYTES = 30 << 10;
/** An unanswered request is given up, in ms. */
const TIMEOUT = 30_000;
/** Between an event and what the browser would send if the page died, in ms. */
const WILL_AFTER = 100;
/** Between an event, which the loader has stored, and its way to the client, in ms: others may go with it. */
const TAKE_AFTER = 250;
/** Events that a task takes. */
const SLICE = 50;

/** How long the client trusts a beacon, in ms. */
const GRACE = 30_000;
/** What is smaller hardly shrinks. */
const MIN_COMPRESSED = 250;

/** Nothing that goes wrong here is the page's. */
const safely = (call: () => unknown) => async () => {
  try {
    await call();
  } catch (error) {
    warn("the client failed", error);
  }
};

/** By gzip, which collectors recognise by its first bytes: a header that says so would need a preflight. */
const compressed = async (body: Uint8Array<ArrayBuffer>) => {
  const stream = new Blob([body]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};

/** What browsers without `Temporal` have loads all that formats dates: by far the longest task of the page. */
const timeZone = (): string => {
  const { Temporal } = globalThis as { Temporal?: { Now: { timeZoneId(): string } } };
  return Temporal?.Now.timeZoneId() ?? Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
};

/** `heard` takes what a reply says besides fates; `failed` hears that another one has to take over. */
export const start = async (
  setup: Setup,
  heard: Heard,
  failed: (error: unknown) => void,
): Promise<Sink> => {
  const hidden = () => (globalThis as { document?: Document }).document?.hidden;
  const core = await connect(
    new URL(WASM_FILE, import.meta.url),
    setup.key,
    setup.stream,
    [navigator.language, timeZone()],
    (globalThis as { screen?: Screen }).screen,
  );
  const journal = setup.durable ? openJournal(setup) : undefined;
  let person: Person | undefined;
  let stopped = false;
  const address = `${setup.collector}1/batch`;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let taking: typeof timer;
  /** Events that the client has, and the last number among them. */
  let waiting = 0;
  let last = -1;
  /** Whoever waits until there are none. */
  let waiters: (() => void)[] = [];
  /** Until when the server asked to wait, by the wall clock. */
  let waitUntil = 0;
  let failing = false;
  const will = willOf(address);
  let willing: typeof timer;

  const write = () => {
    if (stopped) return;
    willing ??= setTimeout(safely(() => {
      const body = core.leave(MAX_KEEPALIVE_BYTES) ? core.beacon(0) : undefined;
      // Both take long for a task where they are done for the first time.
      willing = setTimeout(() => {
        willing = undefined;
        will(body);
      });
    }), WILL_AFTER);
  };

  const say = (heldUntil = 0) => journal?.say(last, waitUntil, heldUntil);

  /** What became of events, by this reply or without one. */
  const settle = (reply = new Uint8Array()) => {
    const fates = core.fates();
    waiting -= fates.length;
    setup.log("fates", fates, reply);
    void heard(reply, fates);
    journal?.settle(fates.map(([id]) => id));
    if (!waiting) for (const resolve of waiters.splice(0)) resolve();
  };

  const post = async (body: Uint8Array<ArrayBuffer>) => {
    let status = 0;
    let retryAfter = -1;
    let answer = new Uint8Array();
    // A page that is hidden may have no time to wait.
    if (body.length > MIN_COMPRESSED && !hidden()) body = await compressed(body).catch(() => body);
    try {
      const response = await fetch(address, {
        method: "POST",
        body,
        headers: { "content-type": "text/plain" }, // needs no preflight
        credentials: "omit",
        keepalive: body.length <= MAX_KEEPALIVE_BYTES,
        signal: AbortSignal.timeout?.(TIMEOUT) ?? null,
      });
      answer = new Uint8Array(await response.arrayBuffer());
      const wait = response.headers.get("retry-after");
      if (wait) retryAfter = (isFinite(+wait) ? +wait * 1_000 : Date.parse(wait) - Date.now()) || -1;
      status = response.status;
    } catch {
      // No network, cut or timed out: status 0.
    }
    if (stopped) return;
    if (status == 401 || status == 403) warn(`the key is refused (${status}): events wait`, setup.key);
    core.reply(status, retryAfter, answer);
    failing = status != 202;
    waitUntil = failing && retryAfter > 0 ? Date.now() + retryAfter : 0;
    setup.log("reply", status);
    settle(failing ? undefined : answer);
    if (failing) say();
    write();
    drive();
  };

  const drive = () => {
    clearTimeout(timer);
    if (stopped) return;
    const step = core.step();
    if (step == SEND) void safely(() => post(core.body()))();
    else if (step >= 0) timer = setTimeout(safely(drive), Math.max(0, step - performance.now()));
  };

  const halt = () => {
    stopped = true;
    for (const one of [timer, taking, willing]) clearTimeout(one);
    will();
  };

  const identify = (by: Person, consent: string | undefined) =>
    core.person(by, by.visitor == setup.person.visitor ? +setup.day : 0, consent == "granted");

  /** Takes what is queued, as much as a task has time for. It stays stored until the server has answered for it. */
  const takeQueued = (all?: boolean) => {
    clearTimeout(taking);
    taking = undefined;
    if (stopped || !setup.queue[0] || !setup.allowed()) return;
    const some = setup.queue.splice(0, all ? Infinity : SLICE);
    try {
      for (const entry of some) {
        const [seq, at, event, by] = fit(entry);
        if (by != person) {
          person = by;
          identify(by, setup.consent);
        }
        core.record(seq, at, event);
        waiting++;
        last = seq;
        journal?.take(`${setup.stream}.${seq}`, () => setup.json(entry));
      }
      if (setup.queue[0]) taking = setTimeout(takeQueued);
      say();
      write();
      if (all) drive();
      else {
        clearTimeout(timer);
        timer = setTimeout(safely(drive));
      }
    } catch (error) {
      // What is stored stays: the next page may be able to send it, too.
      setup.queue.unshift(...some);
      halt();
      failed(error);
    }
  };

  const flush = () => {
    takeQueued(true);
    core.flush();
    drive();
    return new Promise<void>((resolve) => {
      if (waiting && !stopped) waiters.push(resolve);
      else resolve();
    });
  };

  const leave = () => {
    if (stopped) return;
    clearTimeout(willing);
    willing = undefined;
    will();
    const beacons = core.leave(MAX_BEACON_BYTES);
    let sent = beacons > 0 && !failing;
    for (let i = 0; i < beacons; i++) {
      const body = new Blob([core.beacon(i)], { type: "text/plain" });
      if (navigator.sendBeacon(address, body)) core.beaconed(i);
      else sent = false;
    }
    say(sent ? Date.now() + GRACE : 0);
    journal?.release();
  };

  const record = ([, , { type }]: Entry) => {
    if (type == "order") {
      clearTimeout(taking);
      taking = setTimeout(takeQueued);
    } else taking ??= setTimeout(takeQueued, TAKE_AFTER);
  };

  await pause();
  await journal?.inherit({
    follow: core.follow,
    inherit(left, before, at, heldUntil) {
      identify(left, left.consent);
      core.inherit(left.id, before, at, heldUntil, left);
      waiting++;
    },
  });
  settle(); // what was too old, or too much
  await pause();
  write();
  drive();

  addEventListener("pagehide", safely(leave));
  const back = safely(() => {
    if (stopped) return;
    journal?.back();
    write();
    drive();
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) void back();
  });
  const hurry = safely(flush);
  addEventListener("visibilitychange", () => {
    // The page may be ended without a further word; if it is not, the answer comes here.
    if (hidden()) void hurry();
  });
  addEventListener("online", hurry);
  const stop = () => {
    halt();
    journal?.stop();
    for (const resolve of waiters.splice(0)) resolve();
  };
  return { record, settle: () => takeQueued(true), flush, stop };
};
