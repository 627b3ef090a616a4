// What takes over from the loader: the client that sends, what consent lets it do, and what is captured.

import type { Heard, Main, Setup, Sink } from "./event";
import { adopt, forget } from "./person";
import type { Fate } from "./reply";
import { start as startShell } from "./shell";
import { warn } from "./values";

/** Names of the built modules beside this one. */
declare const SETTINGS_FILE: string;
declare const LINKS_FILE: string;
declare const OVERLAY_FILE: string;
declare const PLAIN_FILE: string;
declare const TAB_FILE: string;

interface Plain {
  start(setup: Setup, heard: Heard): Sink;
}
interface Settings {
  follow(setup: Setup): (reply: Uint8Array | string) => void;
  say(fates: readonly Fate[], reply: Uint8Array): void;
}
/** A module that adds something to a page. */
interface Addition {
  start(setup: Setup): void;
}

export const start = async (setup: Setup) => {
  const { client } = setup;
  setup.log = (...what) => {
    if (client.debug) console.log("wakeline", ...what);
  };
  for (const [seq, , event] of setup.queue) setup.log(seq, event);
  let inner: Sink | undefined;
  let opening: Promise<void> | undefined;
  /** How often consent was. */
  let withdrawn = 0;
  let remembered: string | null = "";
  try {
    remembered = localStorage.getItem(setup.allowed() ? `wakeline_settings_${setup.key}` : "");
  } catch {
    setup.durable = false; // a sandbox, or a worker
  }
  let follow: ((reply: Uint8Array | string) => void) | undefined;
  const heard: Heard = async (reply, fates = []) => {
    const lost = fates.some(([, fate]) => fate);
    // A reply that only counts what was accepted has three bytes at most.
    if (!(setup.capture || follow || reply.length > 3 || lost)) return;
    const settings = (await import(SETTINGS_FILE)) as Settings;
    follow ??= settings.follow(setup);
    if (reply[0]) follow(reply);
    if (lost) settings.say(fates, reply as Uint8Array);
  };
  const ignored = (error: unknown) => warn("settings are not heard", error);
  const add = (file: string) =>
    (import(file) as Promise<Addition>)
      .then((addition) => addition.start(setup))
      .catch((error: unknown) => warn("not loaded", error));
  await heard(remembered || "{}").catch(ignored);

  const open = () =>
    (opening ??= (async () => {
      const before = withdrawn;
      let made: Sink | undefined;
      if (setup.durable && setup.tab + "" == "true") await add(TAB_FILE);
      if (!setup.failed) {
        made = await startShell(setup, (reply, fates) => heard(reply, fates).catch(ignored), failed).catch((error: unknown) => {
          warn("no WebAssembly: events go as JSON", error);
          return undefined;
        });
      }
      made ??= ((await import(PLAIN_FILE)) as Plain).start(setup, heard);
      if (withdrawn > before) return made.stop();
      opening = undefined;
      inner = made;
      setTimeout(() => void sink.flush()); // all has waited
    })());

  /** The client fails: what sends JSON goes on in its place. */
  const failed = (error: unknown) => {
    warn("the client failed", error);
    inner = undefined;
    setup.failed = true;
    void open();
  };

  const sink: Main = {
    record: (entry) => inner?.record(entry),
    settle: () => inner?.settle(),
    flush: async () => {
      await opening;
      await inner?.flush();
    },
    async turned() {
      if (!["granted", "denied", "pending", undefined].includes(setup.consent)) {
        warn("consent is granted, denied or pending: until then events wait", setup.consent);
      }
      if (setup.forgotten) forget(setup);
      if (setup.allowed()) {
        adopt(setup);
        if (inner) void inner.flush();
        else await open();
      } else if (setup.consent == "denied") {
        withdrawn++;
        inner?.stop();
        inner = opening = undefined;
      }
    },
  };

  if (typeof document != "undefined") {
    if (/[?&]wakeline_debug\b/.test(location.search)) await add(OVERLAY_FILE);
    if (setup.linkDomains) await add(LINKS_FILE);
    // Routers that know the Navigation API don't all go by `history`.
    const { navigation } = globalThis as { navigation?: EventTarget };
    if (setup.pageViews + "" != "false") {
      navigation?.addEventListener("currententrychange", (event) => {
        setup.routed((event as { navigationType?: string }).navigationType == "replace");
      });
      addEventListener("pageshow", (event) => {
        if (event.persisted) client.page();
      });
    }
  }

  setup.sink = sink;
  if (setup.consent != undefined || setup.forgotten || setup.persistence == "cookie") await sink.turned();
  else await open();
};
