// What the site's settings say to its pages: on the reply to each batch, and remembered for the next page. Loaded where there are
// any, where something is captured, or where the server refused events.

import type { CapturedEvent } from "./api";
import type { Setup } from "./event";
import { settingsOf } from "./reply";

export { say } from "./reply";

/** Names of the built modules beside this one. */
declare const CAPTURE_FILE: string;
declare const VITALS_FILE: string;

/** As the collector says it. */
interface Settings {
  /** What to capture, besides what the page says. */
  capture?: string[];
  /** Paths of which nothing is recorded; `*` stands for any characters. */
  blocked?: string[];
  /** Whether this visitor is in the site's sample. */
  sampled?: boolean;
}

interface Capturing {
  capture(setup: Setup, names: Set<string>): void;
}

/** What `all` means. */
const ALL = "clicks rage outbound downloads forms scroll engagement notFound vitals errors search swipes".split(" ");

const pattern = (path: string) =>
  new RegExp(`^${path.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*")}$`);

/** Applies what is remembered; gives what applies new settings. */
export const follow = (setup: Setup) => {
  const name = `wakeline_settings_${setup.key}`;
  let blocked: RegExp[] = [];
  let sampled = true;
  let known = "";
  const capturing = new Set<string>();

  setup.client.use((event: CapturedEvent) => {
    if (!sampled) return null;
    if (!blocked[0]) return event;
    // In a worker or a sandbox the page may not have said where it is.
    const path = /^\w+:\/\/[^/?#]*([^?#]*)/.exec(event.url ?? "")?.[1] || "/";
    return blocked.some((pattern) => pattern.test(path)) ? null : event;
  });

  const capture = (wanted: readonly string[]) => {
    const names = wanted.includes("all") ? ALL : wanted;
    const added = new Set(names.filter((name) => ALL.includes(name) && !capturing.has(name)));
    if (!added.size || typeof document == "undefined") return;
    for (const name of added) capturing.add(name);
    const load = async (file: string) => ((await import(file)) as Capturing).capture(setup, added);
    const failed = (error: unknown) => setup.log("not captured", error);
    if (added.has("vitals")) load(VITALS_FILE).catch(failed);
    if (added.size > +added.has("vitals")) load(CAPTURE_FILE).catch(failed);
  };

  const apply = (text: string) => {
    if (text == known) return;
    known = text;
    const settings = JSON.parse(text) as Settings;
    blocked = (settings.blocked ?? []).map(pattern);
    sampled = settings.sampled ?? true;
    capture(settings.capture ?? []);
    setup.log("settings", settings);
    if (setup.durable) {
      const { sampled: _, ...remembered } = settings;
      localStorage.setItem(name, JSON.stringify(remembered));
    }
  };
  const attempt = (text: string) => {
    try {
      apply(text);
    } catch (error) {
      setup.log("settings not understood", error);
    }
  };

  const own = setup.capture;
  capture(typeof own == "string" ? own.split(/\W+/) : (own ?? []));
  /** No settings are settings: what was there before holds no longer, but what is captured is until the next page. */
  return (reply: Uint8Array | string) => attempt((typeof reply == "string" ? reply : settingsOf(reply)) ?? "{}");
};
