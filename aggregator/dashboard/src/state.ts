/**
 * What the dashboard knows, and what it does about it. Components read signals and call the functions here and in
 * `navigate`; the view also stands in the address.
 */
import { batch, computed, signal } from "@preact/signals";
import * as api from "./api";
import { ApiError, type Segment, type Site } from "./api";
import { Coalescer } from "./coalesce";
import { localStamp } from "./format";
import { FetchSource } from "./fetch-source";
import { LiveConnection, type Connection, type LiveEvent } from "./live";
import { includesNow } from "./period";
import { everSeen, fetchReport, questionOf, type Report, type ReportRequest } from "./report";
import type { Metric } from "./metrics";
import { arrive, EMPTY_STREAM, MAX_EVENTS, pause, resume, type StreamItem } from "./stream";
import { storedTheme, storeTheme, type Theme } from "./theme";
import { linkFrom, pageFrom, searchOf, tokenFrom, viewFrom, type Page, type View } from "./url";

export type Screen = "starting" | "signed-out" | "no-sites" | "no-link" | "site";

export const screen = signal<Screen>("starting");
export const signInError = signal("");
export const sites = signal<readonly Site[]>([]);
export const page = signal<Page>(pageFrom(location.pathname));
export const view = signal<View>(viewFrom(location.search));
export const report = signal<Report | undefined>(undefined);
/** Why the figures are not up to date; empty if they are. */
export const reportError = signal("");
export const loading = signal(false);
export const connection = signal<Connection>("connecting");
export const visitorsNow = signal<number | undefined>(undefined);
export const stream = signal(EMPTY_STREAM);
/** Whether the site has ever had an event; unknown until asked. */
export const seen = signal<boolean | undefined>(undefined);
/** The site's first event, if it came while this page waited for it. */
export const firstEvent = signal<LiveEvent | undefined>(undefined);
/** Grows whenever figures may have changed. */
export const changes = signal(0);
export const theme = signal<Theme>(storedTheme());
export const segments = signal<readonly Segment[]>([]);
export const helpOpen = signal(false);
export const customRangeOpen = signal(false);
/** The place of the filter that is being written; −1: a new one. */
export const filterOpen = signal<number | undefined>(undefined);
export const segmentsOpen = signal(false);
/** The figure that is being explained. */
export const explained = signal<Metric | undefined>(undefined);

/** The secret of the public link that this page is, if it is one. */
const link = linkFrom(location.pathname);
/** Whether this is a public link: reports only, and nothing can be changed. */
export const isPublic = link !== undefined;

export const site = computed<Site | undefined>(() => {
  const wanted = view.value.site;
  return sites.value.find((each) => each.domain === wanted || String(each.id) === wanted) ?? sites.value[0];
});

/** Today on the site's calendar. */
export const today = (): string => localStamp(Date.now(), site.value?.timezone ?? "UTC").slice(0, 10);

const LIVE_GAP_MS = 250;
/** Figures of the past only change by events that come late. */
const PAST_GAP_MS = 5_000;
/** A page that nobody sees for so long lets go of its connection: a browser has few for one server. */
const HIDDEN_MS = 5 * 60_000;

/** Answers that take long are read from events: a dashboard must not keep the server busy with nothing else. */
const REST = 4;
let took = 0;

const refresh = new Coalescer(load, () => Math.max(includesNow(view.value.period, today()) ? LIVE_GAP_MS : PAST_GAP_MS, REST * took));
let live: LiveConnection | undefined;

function changed(): void {
  changes.value += 1;
  refresh.request();
}

/** What is asked for the view. */
export function reportRequest(): ReportRequest | undefined {
  const current = site.value;
  const { period, interval, metric, filters, compare, weekdays } = view.value;
  return current && { site: current, period, interval, metric, filters, compare, weekdays };
}

async function load(signal: AbortSignal): Promise<void> {
  const request = reportRequest();
  if (!request) return;
  const began = performance.now();
  try {
    const next = await fetchReport(request, signal);
    const known = seen.value || (next.totals.visitors?.value ?? 0) > 0 || (await everSeen(request.site, signal));
    if (signal.aborted) return;
    took = performance.now() - began;
    batch(() => {
      report.value = next;
      seen.value = known;
      reportError.value = "";
      loading.value = false;
    });
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof ApiError && error.status === 401) return signedOut();
    batch(() => {
      reportError.value = error instanceof Error ? error.message : String(error);
      loading.value = false;
    });
  }
}

/** Reads the address, signs in if it brings a token, and shows what there is. */
export async function start(): Promise<void> {
  addEventListener("popstate", () => {
    page.value = pageFrom(location.pathname);
    show(viewFrom(location.search), "keep");
  });
  // A token put into the address of a page that is open already.
  addEventListener("hashchange", () => void enter());
  watchVisibility();
  watchLeaving();
  followMinutes();
  if (link !== undefined) api.useLink(link);
  await enter();
}

async function enter(): Promise<void> {
  const token = isPublic ? undefined : tokenFrom(location.hash);
  if (token) {
    // Out of the address bar and of the history before anything else.
    history.replaceState(null, "", location.pathname + location.search);
    await submitToken(token);
    return;
  }
  if (screen.value === "site") return;
  try {
    await api.session();
    await open();
  } catch (error) {
    signedOut(error instanceof ApiError && error.status === 401 ? "" : messageOf(error));
  }
}

export async function submitToken(token: string): Promise<void> {
  signInError.value = "";
  try {
    await api.signIn(token);
    await open();
  } catch (error) {
    signedOut(
      error instanceof ApiError && (error.status === 401 || error.status === 403)
        ? "This token is not known here, or was revoked."
        : messageOf(error),
    );
  }
}

async function open(): Promise<void> {
  sites.value = await api.sites();
  if (sites.value.length === 0) {
    screen.value = "no-sites";
    return;
  }
  screen.value = "site";
  enterSite();
}

/** Everything that belongs to one site begins anew. */
function enterSite(): void {
  const current = site.value;
  if (!current) return;
  batch(() => {
    report.value = undefined;
    reportError.value = "";
    visitorsNow.value = undefined;
    stream.value = EMPTY_STREAM;
    seen.value = undefined;
    firstEvent.value = undefined;
    loading.value = true;
  });
  arrived = [];
  void loadSegments();
  document.title = `${current.domain} · Wakeline`;
  refresh.restart();
  connect(current);
}

/** The site's saved segments; without them their ids are shown. */
export async function loadSegments(): Promise<void> {
  const current = site.value;
  if (!current) return;
  try {
    const found = await api.segments(current.id);
    if (site.value?.id === current.id) segments.value = found;
  } catch {
    segments.value = [];
  }
}

function connect(to: Site): void {
  live?.close();
  const source = isPublic ? (url: string) => new FetchSource(url, api.credentials()) : undefined;
  live = new LiveConnection(api.liveUrl(to.id), {
    onEvent: (event) => {
      arrived.push({ ...event, id: ++lastItem });
      if (event.fate === "counted" && !seen.value) {
        if (seen.value === false) firstEvent.value = event;
        seen.value = true;
      }
      scheduleArrivals();
    },
    onChanged: changed,
    onNow: (visitors) => (visitorsNow.value = visitors),
    onState: (state) => (connection.value = state),
    onLost: () => void checkSession(),
  }, source);
  live.connect();
}

async function checkSession(): Promise<void> {
  try {
    await api.session();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) sessionEnded();
  }
}

/** The server does not know the session any more. */
export function sessionEnded(): void {
  if (screen.value === "site") signedOut(isPublic ? "" : "Your session has ended.");
}

/** Events are shown a few times a second at most, however many come. */
const ARRIVALS_MS = 120;
let arrived: StreamItem[] = [];
let lastItem = 0;
let arrivals: ReturnType<typeof setTimeout> | undefined;

function scheduleArrivals(): void {
  if (arrived.length > 2 * MAX_EVENTS) arrived = arrived.slice(-MAX_EVENTS);
  arrivals ??= setTimeout(() => {
    arrivals = undefined;
    const items = arrived;
    arrived = [];
    stream.value = arrive(stream.value, items);
  }, ARRIVALS_MS);
}

export function pauseStream(): void {
  stream.value = pause(stream.value);
}

export function resumeStream(): void {
  stream.value = resume(stream.value);
}

export async function leave(): Promise<void> {
  try {
    await api.signOut();
  } catch {
    // Then the cookie stays; it is refused or renewed by the next sign-in.
  }
  signedOut();
}

function signedOut(why = ""): void {
  live?.close();
  live = undefined;
  refresh.stop();
  batch(() => {
    screen.value = isPublic ? "no-link" : "signed-out";
    signInError.value = why;
    report.value = undefined;
    sites.value = [];
  });
  document.title = "Wakeline";
}

/** Shows another view; `push` makes a step of the browser's history, `keep` leaves the address alone. */
export function show(next: View, address: "push" | "replace" | "keep"): void {
  const before = view.value;
  const siteBefore = site.value?.id;
  view.value = next;
  if (address !== "keep") {
    const url = location.pathname + searchOf(next);
    if (address === "push") history.pushState(null, "", url);
    else history.replaceState(null, "", url);
  }
  if (screen.value !== "site") return;
  if (site.value?.id !== siteBefore) enterSite();
  else if (asksElse(before, next)) {
    loading.value = true;
    refresh.restart();
  }
}

/** Whether another view needs other figures. */
function asksElse(before: View, next: View): boolean {
  const request = reportRequest();
  const figures = report.value;
  const sameQuestion = request && figures && figures.question === questionOf(request) && before.period === next.period;
  return !sameQuestion || before.interval !== next.interval || !(next.metric in figures.series.values);
}

export function chooseTheme(next: Theme): void {
  theme.value = next;
  storeTheme(next);
}

export function retry(): void {
  refresh.restart();
}

function watchVisibility(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let released = false;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.visibilityState === "hidden") {
      timer = setTimeout(() => {
        released = true;
        live?.close();
        connection.value = "waiting";
      }, HIDDEN_MS);
    } else if (screen.value === "site") {
      // Timers run late or not at all in a hidden page.
      if (released) live?.connect();
      else changed();
      released = false;
    }
  });
}

/** A page that the browser keeps to go back to would keep its connection, too, and a browser has few for one server. */
function watchLeaving(): void {
  addEventListener("pagehide", () => live?.close());
  addEventListener("pageshow", ({ persisted }) => persisted && screen.value === "site" && live?.connect());
}

/** Time passes without events, too: buckets begin and days turn. */
function followMinutes(): void {
  const untilNext = () => 60_000 - (Date.now() % 60_000) + 50;
  const tick = (): void => {
    if (screen.value === "site" && document.visibilityState === "visible") changed();
    setTimeout(tick, untilNext());
  };
  setTimeout(tick, untilNext());
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
