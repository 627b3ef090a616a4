// What is recorded without a call. One listener for each kind, on the window, in the capture phase: pages that stop
// events are seen, too, and what is recorded when a page goes comes before the page's last word.

import { pathOf } from "./element";
import type { Setup } from "./event";

const DOWNLOADS = /\.(7z|apk|avi|csv|dmg|docx?|epub|exe|gz|iso|jar|m4a|mov|mp[34]|msi|odt|pdf|pkg|pptx?|rar|rtf|tar|txt|wav|wmv|xlsx?|zip)$/i;
const DEPTHS = [25, 50, 75, 90, 100];
/** So many clicks within so many ms and CSS pixels are of somebody angry. */
const RAGE_CLICKS = 3;
const RAGE_MS = 1_000;
const RAGE_PIXELS = 30;
/** A finger that goes so far (CSS pixels) in so short a time (ms), and mostly in one direction, swipes. */
const SWIPE_PIXELS = 60;
const SWIPE_MS = 600;
/** Of a page: one that fails again and again has said enough. */
const MAX_ERRORS = 10;
/** Attention ends so long (ms) after the last sign of a person. */
const IDLE_MS = 30_000;
const SEARCH = ["q", "query", "search", "s", "keyword", "term"];

type Target = Element & { readonly form?: HTMLFormElement | null };

/** Records what `names` say, and goes on with it until the page goes. */
export const capture = (setup: Setup, names: Set<string>) => {
  const on = (type: string, handle: (event: never) => void) =>
    addEventListener(type, setup.safely(handle) as EventListener, { capture: true, passive: true });
  const custom = (name: string, properties: object, interactive = true) =>
    setup.record({ type: "custom", name, properties, ...(interactive ? {} : { interactive }) });
  /** What was really clicked, in a shadow tree, too. */
  const target = (event: Event) => {
    const [first] = event.composedPath();
    return first instanceof Element ? (first as Target) : undefined;
  };
  const clean = (url: URL) => url.origin + url.pathname;

  if (names.has("clicks")) {
    on("click", (event: MouseEvent) => {
      const element = target(event)?.closest("a,button,input,select,summary,label,[role],[data-wakeline],[onclick]");
      if (element) setup.record({ type: "click", properties: { element: pathOf(element) } });
    });
  }

  if (names.has("rage")) {
    let clicks: MouseEvent[] = [];
    on("click", (event: MouseEvent) => {
      const near = (other: MouseEvent) =>
        event.timeStamp - other.timeStamp < RAGE_MS &&
        Math.hypot(event.clientX - other.clientX, event.clientY - other.clientY) < RAGE_PIXELS;
      clicks = [...clicks.filter(near), event];
      const element = target(event);
      if (clicks.length < RAGE_CLICKS || !element) return;
      custom("rage_click", { element: pathOf(element), clicks: clicks.length });
      clicks = [];
    });
  }

  const outbound = names.has("outbound");
  const downloads = names.has("downloads");
  if (outbound || downloads) {
    const followed = (event: MouseEvent) => {
      const link = target(event)?.closest("a[href],area[href]");
      if (!link || event.button > 1) return;
      const url = new URL(link.getAttribute("href") ?? "", document.baseURI);
      if (!/^https?:$/.test(url.protocol)) return;
      const kind = DOWNLOADS.exec(url.pathname)?.[1];
      if (downloads && (kind || link.hasAttribute("download"))) {
        custom("file_download", { url: clean(url), extension: kind?.toLowerCase() });
      } else if (outbound && url.host != location.host) {
        custom("outbound_click", { url: clean(url), host: url.host });
      }
    };
    on("click", followed);
    on("auxclick", followed);
  }

  if (names.has("forms")) {
    on("submit", (event: SubmitEvent) => {
      const form = target(event);
      if (!form) return;
      const action = new URL(form.getAttribute("action") ?? "", document.baseURI);
      setup.record({ type: "form", properties: { element: pathOf(form), action: clean(action), method: form.getAttribute("method") } });
    });
  }

  const depth = () => {
    const { scrollHeight } = document.documentElement;
    return scrollHeight > 0 ? Math.min(100, Math.round(((scrollY + innerHeight) / scrollHeight) * 100)) : 100;
  };
  let path = location.pathname;
  let deepest = depth();
  let reached = 0;
  if (names.has("scroll") || names.has("engagement")) {
    const look = () => {
      if (path != location.pathname) {
        path = location.pathname;
        deepest = reached = 0;
      }
      deepest = Math.max(deepest, depth());
    };
    on("scroll", () => {
      look();
      if (!names.has("scroll")) return;
      const passed = DEPTHS.filter((least) => least <= deepest && least > reached).pop();
      if (passed) {
        reached = passed;
        setup.record({ type: "scroll", properties: { percent: passed } });
      }
    });
  }

  if (names.has("engagement")) {
    let since = performance.now();
    let seen = document.hidden ? -Infinity : since;
    let time = 0;
    /** Adds up to now what was attention. */
    const count = () => {
      const now = performance.now();
      time += Math.max(0, Math.min(now, seen + IDLE_MS) - since);
      since = now;
    };
    const sign = () => {
      count();
      seen = since;
    };
    const tell = () => {
      count();
      if (time < 100) return;
      setup.record({ type: "engagement", engagement: { time_ms: Math.round(time), scroll_percent: deepest } });
      time = 0;
    };
    for (const type of ["pointerdown", "pointermove", "keydown", "scroll"]) on(type, sign);
    on("visibilitychange", () => {
      if (document.hidden) {
        tell();
        seen = -Infinity;
      } else {
        since = seen = performance.now();
      }
    });
    on("pagehide", tell);
    // A route ends what the page before had.
    setup.client.use((event) => {
      if (event.type == "page_view") tell();
      return event;
    });
  }

  if (names.has("notFound")) {
    const [loaded] = performance.getEntriesByType("navigation") as (PerformanceEntry & { responseStatus?: number })[];
    if (loaded?.responseStatus == 404 || document.querySelector('meta[name="wakeline:status"][content="404"]')) {
      custom("not_found", {}, false);
    }
  }

  if (names.has("errors")) {
    const said = new Set<string>();
    const tell = (message: string, file = "", line = 0, column = 0) => {
      if (said.has(message) || said.size >= MAX_ERRORS) return;
      said.add(message);
      // The file's query may have what is nobody's business.
      custom("js_error", { message: message.slice(0, 300), file: file.split(/[?#]/)[0], line, column }, false);
    };
    on("error", ({ message, filename, lineno, colno }: ErrorEvent) => {
      if (message) tell(message, filename, lineno, colno);
    });
    on("unhandledrejection", ({ reason }: PromiseRejectionEvent) => {
      tell(reason instanceof Error ? `${reason.name}: ${reason.message}` : "unhandled rejection");
    });
  }

  if (names.has("search")) {
    let searched = "";
    const look = (url: string) => {
      const query = new URL(url, document.baseURI).searchParams;
      const term = SEARCH.map((name) => query.get(name)).find(Boolean)?.trim().slice(0, 200) ?? "";
      if (term && term != searched) custom("search", { term });
      searched = term;
    };
    look(location.href);
    setup.client.use((event) => {
      // After the view that shows the results.
      if (event.type == "page_view") queueMicrotask(setup.safely(() => look(location.href)));
      return event;
    });
  }

  if (names.has("swipes")) {
    let from: { x: number; y: number; at: number } | undefined;
    on("touchstart", ({ touches, timeStamp }: TouchEvent) => {
      const touch = touches[0];
      from = touch && touches.length == 1 ? { x: touch.clientX, y: touch.clientY, at: timeStamp } : undefined;
    });
    on("touchend", (event: TouchEvent) => {
      const touch = event.changedTouches[0];
      const element = target(event);
      if (!from || !touch || !element || event.timeStamp - from.at > SWIPE_MS) return;
      const [x, y] = [touch.clientX - from.x, touch.clientY - from.y];
      // Up and down is scrolling.
      if (Math.abs(x) > SWIPE_PIXELS && Math.abs(x) > 2 * Math.abs(y)) {
        setup.record({ type: "swipe", properties: { direction: x < 0 ? "left" : "right", element: pathOf(element) } });
      }
    });
  }
};
