// What takes over from the loader: the calls that it kept, the person, the client that sends, and what is captured.

import type { Consent, Properties } from "./api";
import type { Heard, Person, Setup, Sink } from "./event";
import { adopt, forget, fresh } from "./person";
import type { Fate } from "./reply";
import { start as startShell } from "./shell";
import { warn } from "./values";

/** Names of the built modules beside this one. */
declare const SETTINGS_FILE: string;
declare const LINKS_FILE: string;
declare const OVERLAY_FILE: string;
declare const PLAIN_FILE: string;

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

export const start = async (setup: Setup): Promise<Sink> => {
  const { client, safely } = setup;
  let inner: Sink | undefined;
  let opening: Promise<void> | undefined;
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
  await heard(remembered || "{}").catch(ignored);

  const open = () =>
    (opening ??= (async () => {
      let made: Sink | undefined;
      if (!setup.failed) {
        made = await startShell(setup, (reply, fates) => heard(reply, fates).catch(ignored), failed).catch((error: unknown) => {
          warn("no WebAssembly: events go as JSON", error);
          return undefined;
        });
      }
      made ??= ((await import(PLAIN_FILE)) as Plain).start(setup, heard);
      opening = undefined;
      if (!setup.allowed()) return made.stop();
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

  const sink: Sink = {
    record: (entry) => inner?.record(entry),
    settle: () => inner?.settle(),
    flush: async () => {
      await opening;
      await inner?.flush();
    },
    stop() {},
  };

  Object.assign(client, {
    alias: safely((user: string, visitor: string) => {
      const other: Person = { ...setup.person, user: user + "", visitor: visitor + "" };
      setup.record({ type: "identify" }, other);
    }),
    group: safely((id: string, properties?: Properties) => {
      setup.record({ type: "custom", name: "group", properties: { ...properties, "group.id": id + "" } });
    }),
    reset: safely(() => {
      sink.settle();
      setup.person = { visitor: "" };
      if (setup.allowed()) adopt(setup, fresh());
    }),
    setConsent: safely((answer: Consent) => {
      if (!["granted", "denied", "pending"].includes(answer)) throw "malformed";
      sink.settle();
      setup.consent = answer;
      if (setup.allowed()) {
        adopt(setup);
        if (inner) void inner.flush();
        else void open();
      } else if (answer == "denied") {
        inner?.stop();
        inner = undefined;
        forget(setup);
      }
    }),
  });

  if (typeof document != "undefined") {
    if (/[?&]wakeline_debug\b/.test(location.search)) ((await import(OVERLAY_FILE)) as Addition).start(setup);
    if (setup.linkDomains) ((await import(LINKS_FILE)) as Addition).start(setup);
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

  const calls = setup.calls.splice(0);
  if (setup.allowed() && setup.persistence == "cookie") adopt(setup);
  setup.sink = sink;
  for (const [name, ...args] of calls) (client[name] as (...args: unknown[]) => void)(...args);
  if (setup.allowed()) await open();
  return sink;
};
