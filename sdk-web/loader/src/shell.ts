// The browser around the WebAssembly client: clocks, timers, network, storage. It decides nothing.

import init, { Core } from "wakeline-glue";
import type { Entry, Setup, Sink } from "./event";
import { openJournal } from "./journal";
import { warn } from "./values";

/** Name of the built WebAssembly file beside this module. */
declare const WASM_FILE: string;

/** What `Core.step` gives when a batch is to be sent. */
const SEND = -1;
/** All beacons and keepalive requests of a page together may have 64 KiB. */
const MAX_BEACON_BYTES = 60 << 10;
/** A request this small may outlive its page, and leaves room for beacons. */
const MAX_KEEPALIVE_BYTES = 30 << 10;
/** An unanswered request is given up, in ms. */
const TIMEOUT = 30_000;
/** With more events waiting, the journal is written once for all events of a task. */
const WRITE_EACH = 64;

/** Events of a request with what earlier pages left. */
const RESEND = 50;

const clock = () => [performance.now(), Date.now()] as const;

/** Nothing that goes wrong here is the page's. */
const safely = (call: () => unknown) => async () => {
  try {
    await call();
  } catch (error) {
    warn("the client failed", error);
  }
};

/**
 * Sends what earlier pages left that went before they had this client: as JSON, under the ids it has. Kept until the
 * server has it.
 */
const resend = async (setup: Setup) => {
  for (const name of Object.keys(localStorage).filter((name) => name.startsWith(`wakeline_${setup.key}_`))) {
    if (name.endsWith(setup.stream)) continue;
    const left = localStorage.getItem(name);
    const [at, ...events] = JSON.parse(`[${left}]`) as [number, ...{ age: number }[]];
    const send = async (some: typeof events): Promise<boolean> => {
      const aged = some.map((event) => ({ ...event, age: event.age + Math.max(0, Date.now() - at) }));
      const { status } = await fetch(`${setup.collector}1/events?k=${setup.key}`, {
        method: "POST",
        body: JSON.stringify(aged),
        credentials: "omit",
      });
      if (status != 400 && status != 413) return status == 202;
      const half = some.length >> 1;
      // A single event that can't be read would never be.
      return !half || ((await send(some.slice(0, half))) && send(some.slice(half)));
    };
    let sent = true;
    for (let i = 0; sent && i < events.length; i += RESEND) sent = await send(events.slice(i, i + RESEND));
    if (sent && localStorage.getItem(name) == left) localStorage.removeItem(name);
  }
};

export const start = async (setup: Setup): Promise<Sink> => {
  void safely(() => resend(setup))();
  await init({ module_or_path: new URL(WASM_FILE, import.meta.url) });
  const [install = "", firstDay] = setup.install.split(".");
  const core = new Core(
    setup.key,
    setup.stream,
    install,
    Number(firstDay),
    navigator.language,
    Intl.DateTimeFormat().resolvedOptions().timeZone ?? "",
    screen.width,
    screen.height,
    ...clock(),
  );
  const journal = openJournal(setup.key, setup.stream);
  const address = `${setup.collector}1/batch`;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let writing = false;

  const write = () => {
    writing = false;
    const lost = core.lost();
    if (lost) warn("events were lost", lost);
    const stored = journal.store(core.snapshot(...clock()));
    if (!stored) warn("can't store events, which are lost if the page goes before they are sent", address);
    return stored;
  };
  const writeSoon = () => {
    if (core.waiting() <= WRITE_EACH) write();
    else if (!writing) {
      writing = true;
      queueMicrotask(safely(write));
    }
  };

  const post = async (body: Uint8Array<ArrayBuffer>) => {
    let status = 0;
    let retryAfter = -1;
    let answer = new Uint8Array();
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
    if (status == 401 || status == 403) warn(`the key is refused (${status}): events wait`, setup.key);
    core.reply(status, retryAfter, answer, ...clock());
    setup.log("reply", status, core.fates());
    write();
    drive();
  };

  const drive = () => {
    clearTimeout(timer);
    const step = core.step(...clock());
    if (step == SEND) void safely(() => post(core.body()))();
    else if (step >= 0) timer = setTimeout(safely(drive), Math.max(0, step - performance.now()));
  };

  const flush = () => {
    core.flush();
    drive();
  };

  const leave = () => {
    const beacons = core.leave(MAX_BEACON_BYTES, ...clock());
    for (let i = 0; i < beacons; i++) {
      const body = new Blob([core.beacon(i)], { type: "text/plain" });
      if (navigator.sendBeacon(address, body)) core.beaconed(i, ...clock());
    }
    write();
    journal.release();
  };

  const record = ([seq, at, event]: Entry) => {
    core.page(event.url ?? "", event.referrer ?? "", event.title ?? "");
    for (const [name, value] of Object.entries(event.properties ?? {})) {
      if (typeof value == "string") core.text(name, value);
      else if (typeof value == "number") core.number(name, value);
      else if (typeof value == "boolean") core.flag(name, value);
      else core.time(name, +value);
    }
    const { order } = event;
    if (order) {
      core.order(order.id, order.currency, order.value);
      for (const { sku, name, price, quantity } of order.items) core.item(sku, name, price, quantity);
    }
    const name = event.type == "identify" ? event.user : event.name;
    const refused = core.record(seq, at, event.type, name ?? "", ...clock());
    if (refused) warn(`an event was refused: ${refused}`, event);
    writeSoon();
    drive();
  };

  await journal.inherit((snapshot) => {
    core.restore(snapshot, ...clock());
    return write();
  });
  write();
  drive();

  addEventListener("pagehide", safely(leave));
  const back = safely(() => {
    journal.hold();
    write();
    drive();
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) void back();
  });
  const hurry = safely(flush);
  addEventListener("visibilitychange", () => {
    // The page may be ended without a further word; if it is not, the answer comes here.
    if (document.hidden) void hurry();
  });
  addEventListener("online", hurry);
  return { record, flush };
};
