// The browser around the WebAssembly client: clocks, timers, network, storage. It decides nothing.

import { connect } from "./border";
import type { Entry, Person, Setup, Sink } from "./event";
import { fit } from "./fit";
import { ifGone, openJournal } from "./journal";
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

/** What is smaller hardly shrinks. */
const MIN_COMPRESSED = 250;

/** Events of a request with what earlier pages left. */
const RESEND = 50;

/** Nothing that goes wrong here is the page's. */
const safely = (call: () => unknown) => async () => {
  try {
    await call();
  } catch (error) {
    warn("the client failed", error);
  }
};

/** Ends a task: a page's own come first. */
const pause = () => new Promise((resume) => setTimeout(resume));

/** By gzip, which collectors recognise by its first bytes: a header that says so would need a preflight. */
const compressed = async (body: Uint8Array<ArrayBuffer>) => {
  const stream = new Blob([body]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};

/** Sends what the loader of a page that is gone has stored, under these names: as JSON, under the ids it has. */
const resendStored = async (setup: Setup, names: string[]) => {
  const send = async (some: string[]): Promise<void> => {
    const events = some.flatMap((name) => {
      // Another page may have sent it meanwhile.
      const [at, ...left] = JSON.parse(`[${localStorage.getItem(name) ?? ""}]`) as [number, ...{ age: number }[]];
      return left.map((event) => ({ ...event, age: event.age + Math.max(0, Date.now() - at) }));
    });
    if (!events[0]) return;
    const { status } = await fetch(setup.address, { method: "POST", body: JSON.stringify(events), credentials: "omit" });
    const spoilt = status == 400 || status == 413;
    const half = some.length >> 1;
    if (spoilt && half) {
      await send(some.slice(0, half));
      await send(some.slice(half));
    } else if (spoilt || status == 202) {
      // A single event that can't be read would never be.
      for (const name of some) localStorage.removeItem(name);
    } else throw status;
  };
  while (names[0]) await send(names.splice(0, RESEND));
};

/** Sends what earlier pages left before their client had it. It is kept until the server has it. */
const resend = async (setup: Setup) => {
  const prefix = `wakeline_${setup.key}_`;
  const left: Record<string, string[]> = {};
  for (const name of Object.keys(localStorage)) {
    const [stream = ""] = name.slice(prefix.length).split(".");
    if (name.startsWith(prefix) && stream != setup.stream) (left[stream] ??= []).push(name);
  }
  for (const stream in left) await ifGone(setup.key, stream, () => resendStored(setup, left[stream]!));
};

/** `settings` takes what a reply says besides fates; `failed` hears that another one has to take over. */
export const start = async (
  setup: Setup,
  settings: (reply: Uint8Array) => void,
  failed: (error: unknown) => void,
): Promise<Sink> => {
  if (setup.durable) setTimeout(safely(() => resend(setup)));
  const screen = (globalThis as { screen?: Screen }).screen;
  const hidden = () => (globalThis as { document?: Document }).document?.hidden;
  const core = await connect(
    new URL(WASM_FILE, import.meta.url),
    [setup.key, setup.stream, navigator.language, Intl.DateTimeFormat().resolvedOptions().timeZone ?? ""],
    screen?.width ?? 0,
    screen?.height ?? 0,
  );
  const journal = setup.durable ? openJournal(setup.key, setup.stream, core.snapshot) : undefined;
  let person: Person | undefined;
  let stopped = false;
  const address = `${setup.collector}1/batch`;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let taking: typeof timer;
  /** Events at the queue's front that the client has, but the journal does not. */
  let taken = 0;
  const will = willOf(address);
  let willing: typeof timer;

  const write = () => {
    if (stopped) return;
    willing ??= setTimeout(safely(() => {
      willing = undefined;
      will(core.leave(MAX_KEEPALIVE_BYTES) ? core.beacon(0) : undefined);
    }), WILL_AFTER);
    const lost = core.lost();
    if (lost) warn("events were lost", lost);
    journal?.store();
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
    setup.log("reply", status, core.fates());
    if (status == 202) settings(answer);
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

  const take = ([seq, at, event, by]: Entry) => {
    if (by != person) {
      person = by;
      const known = by.visitor == setup.person.visitor;
      core.person([by.visitor, by.user ?? ""], known ? +setup.day : 0, +(by.consent == "granted"));
    }
    const refused = core.record(seq, at, event);
    if (refused) warn(`an event was refused: ${refused}`, event);
  };

  /** Takes what is queued, as much as a task has time for; what the journal has, the loader need not store. */
  const takeQueued = (all?: boolean) => {
    clearTimeout(taking);
    taking = undefined;
    if (stopped || !setup.queue[0] || !setup.allowed()) return;
    const most = all ? Infinity : taken + SLICE;
    try {
      for (; setup.queue[taken]; taken++) {
        if (taken == most) {
          taking = setTimeout(takeQueued);
          return;
        }
        take(fit(setup.queue[taken]!));
      }
      write();
      setup.queue.splice(0, taken);
      taken = 0;
      setup.keep();
      drive();
    } catch (error) {
      // What is journalled stays: the next page may be able to send it.
      halt();
      failed(error);
    }
  };

  const flush = () => {
    takeQueued(true);
    core.flush();
    drive();
  };

  const leave = () => {
    if (stopped) return;
    clearTimeout(willing);
    willing = undefined;
    will();
    const beacons = core.leave(MAX_BEACON_BYTES);
    for (let i = 0; i < beacons; i++) {
      const body = new Blob([core.beacon(i)], { type: "text/plain" });
      if (navigator.sendBeacon(address, body)) core.beaconed(i);
    }
    write();
    journal?.release();
  };

  const record = ([, , { type }]: Entry) => {
    if (type == "order") {
      clearTimeout(taking);
      taking = setTimeout(takeQueued);
    } else taking ??= setTimeout(takeQueued, TAKE_AFTER);
  };

  await pause();
  await journal?.inherit(core.restore);
  await pause();
  write();
  drive();

  addEventListener("pagehide", safely(leave));
  const back = safely(() => {
    if (stopped) return;
    journal?.hold();
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
  };
  return { record, settle: () => takeQueued(true), flush, stop };
};
