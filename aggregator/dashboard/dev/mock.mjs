// A server for working on the dashboard: `npm run dev [-- --port N --speed EVENTS_PER_SECOND]`.
//
// Serves what `npm run build` wrote, under the same strict content security policy as the aggregator, and an API that
// answers with made-up figures and live events. Any token signs in, except "wrong". Sites: a busy one, one abroad in a
// zone with half hours, and one that never had an event until its first live one comes (`POST /dev/first-event`).
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: args } = parseArgs({
  options: { port: { type: "string", default: "8091" }, speed: { type: "string", default: "1.5" } },
});
const dist = join(dirname(fileURLToPath(import.meta.url)), "../dist");
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml" };
const MINUTE = 60_000;
const DAY = 86_400_000;

const SITES = [
  { id: 1, domain: "shop.example", timezone: "Europe/Berlin", currency: "EUR" },
  { id: 2, domain: "journal.example", timezone: "Asia/Kolkata", currency: "INR" },
  { id: 3, domain: "brand-new.example", timezone: "America/New_York", currency: "USD" },
];
const PATHS = [
  "/", "/products/", "/products/stoneware-mug", "/cart", "/products/linen-throw-in-natural-undyed-flax-with-fringes", "/checkout",
  "/products/oak-stool", "/thank-you", "/about", "/products/brass-lamp", "/journal/how-we-glaze", "/products/wool-rug", "/contact", "/shipping",
];
const VALUES = {
  "visit:source": ["Direct / None", "Google", "Instagram", "DuckDuckGo", "newsletter", "Pinterest", "ChatGPT", "Bing", "journal.example", "Reddit", "blog.example"],
  "visit:channel": ["Direct", "Organic Search", "Organic Social", "Email", "Referral", "AI Assistants", "Paid Search"],
  "visit:utm_campaign": ["(not set)", "spring-glazes", "welcome"],
  "visit:entry_page": [...PATHS.slice(0, 9), "(not set)"],
  "visit:exit_page": [...PATHS.slice(2, 12), "(not set)"],
  "visit:country": ["DE", "US", "FR", "IN", "AT", "(not set)", "JP", "BR"],
  "visit:device": ["Mobile", "Desktop", "Tablet", "(not set)"],
  "visit:browser": ["Chrome", "Safari", "Firefox", "Samsung Internet", "Edge", "(not set)"],
  "visit:os": ["iOS", "Android", "Windows", "macOS", "Linux", "(not set)"],
  "event:name": ["pageview", "product_view", "click", "cart", "order", "newsletter_signup"],
};
const empty = new Set([3]);
/** Live events so far, per site and minute. */
const live = new Map();
const watchers = new Set();

/** Repeatable noise: 0 ≤ noise < 1. */
function noise(...seed) {
  let hash = 2166136261;
  for (const char of seed.join("/")) hash = Math.imul(hash ^ char.charCodeAt(0), 16777619);
  hash ^= hash >>> 15;
  return ((Math.imul(hash, 2246822519) ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}

const clocks = Object.fromEntries(
  SITES.map(({ timezone }) => [timezone, new Intl.DateTimeFormat("sv-SE", { timeZone: timezone, dateStyle: "short", timeStyle: "medium" })]),
);

function localParts(ms, timezone) {
  const text = clocks[timezone].format(ms);
  return { day: text.slice(0, 10), hour: Number(text.slice(11, 13)), text };
}

/** Visitors of an hour, as a shop in the evening has them. */
function hourly(site, ms) {
  if (empty.has(site.id)) return 0;
  const { hour, day } = localParts(ms, site.timezone);
  const shape = 0.12 + Math.exp(-((hour - 12) ** 2) / 14) * 0.6 + Math.exp(-((hour - 20) ** 2) / 8);
  const weekday = [0.85, 1, 1.05, 1.08, 1.02, 0.92, 0.8][new Date(`${day}T00:00:00Z`).getUTCDay()];
  return Math.round(190 * shape * weekday * (0.85 + 0.3 * noise(site.id, Math.floor(ms / 3_600_000))));
}

function figures(visitors, extra) {
  const visits = Math.round(visitors * 1.18);
  const pageviews = Math.round(visits * 3.4) + extra;
  const rate = 36 + 8 * noise("b", visitors);
  return { visitors, visits, pageviews, events: Math.round(pageviews * 1.42), bounce_rate: visits ? Math.round(rate) : null, visit_duration: visits ? Math.round(140 + 60 * noise("d", visitors)) : null };
}

/** The buckets of a query: label and visitors. */
function buckets(site, range, step) {
  const now = Date.now();
  const list = [];
  const label = (ms, whole) => localParts(ms, site.timezone).text.slice(0, whole ? 10 : 19);
  const extra = (from, to) => [...(live.get(site.id) ?? [])].reduce((sum, [minute, count]) => (minute >= from && minute < to ? sum + count : sum), 0);
  if (Array.isArray(range) && range[0].includes("T")) {
    for (let at = Date.parse(range[0]); at <= Date.parse(range[1]); at += MINUTE) {
      list.push({ label: label(at, false), visitors: Math.round((hourly(site, at) / 18) * (0.4 + noise("m", at))), extra: extra(at, at + MINUTE) });
    }
    return list;
  }
  const today = localParts(now, site.timezone).day;
  const days = { day: 0, "24h": 0, "7d": 7, "28d": 28, "30d": 30, "91d": 91, month: Number(today.slice(8)) - 1, "6mo": 182, "12mo": 365, year: 300, all: 420 };
  const [from, to] = Array.isArray(range) ? range : [label(now - (days[range] ?? 0) * DAY, true), /^\d+d$/.test(range) ? label(now - DAY, true) : today];
  let first = Date.parse(`${from}T00:00:00Z`);
  const end = Date.parse(`${to}T00:00:00Z`) + DAY;
  first -= Date.parse(`${localParts(first, site.timezone).text.replace(" ", "T")}Z`) - first;
  if (range === "24h") first = Math.floor(now / 3_600_000) * 3_600_000 - 23 * 3_600_000;
  const hours = range === "24h" ? 24 : Math.round((end - Date.parse(`${from}T00:00:00Z`)) / 3_600_000);
  const groups = new Map();
  for (let n = 0; n < hours; n += 1) {
    const at = first + n * 3_600_000;
    const { day, text } = localParts(at, site.timezone);
    const key = step === "hour" ? `${text.slice(0, 14)}00:00` : step === "week" ? label(first + Math.floor(n / 168) * 7 * DAY, true) : step === "month" ? `${day.slice(0, 8)}01` : day;
    const group = groups.get(key) ?? { label: key, visitors: 0, extra: 0 };
    if (at <= now) {
      const part = Math.min(1, (now - at) / 3_600_000);
      group.visitors += Math.round(hourly(site, at) * part * (step === "hour" ? 1 : 0.82));
      group.extra += extra(at, at + 3_600_000);
    }
    groups.set(key, group);
  }
  return [...groups.values()];
}

function answer(query) {
  const site = SITES.find(({ id, domain }) => id === query.site_id || domain === query.site_id);
  const dimension = query.dimensions?.[0];
  const pick = (row) => query.metrics.map((metric) => row[metric] ?? null);
  const step = dimension === "time" ? "month" : dimension?.startsWith("time:") ? dimension.slice(5) : "hour";
  const all = buckets(site, query.date_range, step);
  const sum = all.reduce((total, { visitors }) => total + visitors, 0);
  const extra = all.reduce((total, { extra: more }) => total + more, 0);
  if (dimension?.startsWith("time")) {
    const rows = all.filter(({ visitors, extra: more }) => visitors + more > 0);
    return {
      results: rows.map(({ label, visitors, extra: more }) => ({ dimensions: [label], metrics: pick(figures(visitors + Math.ceil(more / 4), more)) })),
      meta: { time_labels: all.map(({ label }) => label) }, query,
    };
  }
  if (dimension && VALUES[dimension]) {
    const rows = sum + extra === 0 ? [] : VALUES[dimension].map((value, at) => ({ dimensions: [value], metrics: pick(figures(Math.round((sum * 0.7) / (at + 1.3)) + 1, extra)) }));
    return { results: rows.slice(0, query.pagination?.limit ?? 100), meta: { total_rows: rows.length }, query };
  }
  if (dimension === "event:page") {
    const rows = sum + extra === 0 ? [] : PATHS.map((path, at) => ({ dimensions: [path], metrics: pick({ ...figures(Math.round((sum * 0.6) / (at + 1.4)) + Math.ceil(extra / (8 * (at + 1))), extra), bounce_rate: at === 7 ? null : Math.round(20 + 50 * noise(path)) }) }));
    return { results: rows.slice(0, query.pagination?.limit ?? 100), meta: { total_rows: rows.length }, query };
  }
  return { results: [{ dimensions: [], metrics: pick(figures(Math.round(sum * 0.93) + Math.ceil(extra / 4), extra)) }], meta: {}, query };
}

const TYPES_OF_EVENTS = ["page_view", "page_view", "page_view", "product_view", "click", "cart", "scroll", "engagement", "custom", "order"];
let count = 0;

function happen(site) {
  const now = Date.now();
  const event_type = TYPES_OF_EVENTS[Math.floor(Math.random() * TYPES_OF_EVENTS.length)];
  count += 1;
  const fate = count % 13 === 5 ? "duplicate" : count % 17 === 9 ? "rejected" : "counted";
  const late = count % 19 === 3 ? 3 * 3_600_000 : Math.random() * 400;
  const event = {
    received_at: now, time: Math.round(now - late), fate, event_type, name: event_type === "custom" ? "newsletter_signup" : "",
    ...(fate === "rejected" && { reason: "invalid_property", detail: "price: not a number" }),
    path: PATHS[Math.floor(Math.random() ** 2 * PATHS.length)], visitor: (0x10000000 + Math.floor(noise("v", Math.floor(Math.random() * 12)) * 0xefffffff)).toString(16).slice(0, 8),
  };
  if (fate === "counted") {
    empty.delete(site);
    const minutes = live.get(site) ?? live.set(site, new Map()).get(site);
    const minute = Math.floor(now / MINUTE) * MINUTE;
    minutes.set(minute, (minutes.get(minute) ?? 0) + 1);
  }
  send(site, "event", event);
  if (fate === "counted") send(site, "changed", {});
}

function send(site, type, data) {
  for (const watcher of watchers) if (watcher.site === site) watcher.response.write(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
}

const LETTERS = ["too_old", "malformed", "invalid_url"].map((reason, at) => ({
  id: `19a-000000000000000${at}-${at}`, received_at: new Date(Date.now() - at * 3_600_000).toISOString(), reason, detail: "an example of it",
  payload: { type: "page_view", visitor: "v", url: "https://shop.example/" }, replayed_at: null, outcome: at === 2 ? "rejected" : null,
}));

/** Fates of a day or a month that balance. */
function ledger(query) {
  const interval = query.get("interval") ?? "hour";
  const [step, count] = interval === "hour" ? [3_600_000, 24] : [DAY, 30];
  const to = Math.ceil(Date.now() / step) * step;
  const unknown = query.get("site_id") === "(unknown)";
  const line = (at) => {
    const rejected = unknown ? { unknown_key: Math.round(40 * noise("u", at)) } : { no_consent: Math.round(90 * noise("c", at)), too_old: Math.round(9 * noise("o", at)), malformed: Math.round(30 * noise("m", at)) };
    const duplicate = unknown ? 0 : Math.round(60 * noise("d", at));
    const counted = unknown ? 0 : Math.round(900 * (0.4 + noise("l", at)));
    const accepted = counted + duplicate;
    const received = Object.values(rejected).reduce((sum, each) => sum + each, accepted);
    return { time: new Date(at).toISOString(), received, accepted, rejected, counted, duplicate, late: 0, unreadable: 0, lost_corrupt: 0, lost_by_client: unknown ? 0 : Math.round(3 * noise("c", at)), unsettled: 0 };
  };
  const lines = Array.from({ length: count }, (_, at) => line(to - (count - at) * step));
  const total = lines.reduce((sum, each) => ({
    ...Object.fromEntries(Object.entries(sum).map(([key, value]) => [key, typeof value === "number" ? value + each[key] : value])),
    rejected: Object.fromEntries(Object.entries(each.rejected).map(([reason, value]) => [reason, value + (sum.rejected[reason] ?? 0)])),
  }));
  const waiting = { log_records: 0, collectors: [{ edge: "00c0ffee00c0ffee", connected: true, pending: 12, said_at: new Date().toISOString() }] };
  return { site: query.get("site_id"), interval, from: new Date(to - count * step).toISOString(), to: new Date(to).toISOString(), lines, total, waiting };
}

const visitorsNow = (site) => (empty.has(site) ? 0 : 9 + Math.round(5 * noise("now", site, Math.floor(Date.now() / 4000))));
setInterval(() => happen(1), 1000 / Number(args.speed));
setInterval(() => SITES.forEach(({ id }) => send(id, "now", { visitors: visitorsNow(id) })), 4000);

const server = createServer(async (request, response) => {
  const url = new URL(request.url ?? "/", "http://mock");
  const json = (status, body) => {
    response.writeHead(status, { "content-type": status < 400 ? "application/json" : "application/problem+json", "cache-control": "no-store" });
    response.end(body === undefined ? "" : JSON.stringify(body));
  };
  const signedIn = /mock_session=1/.test(request.headers.cookie ?? "");
  let body = "";
  for await (const chunk of request) body += chunk;
  if (url.pathname === "/dev/first-event") return happen(3), json(204);
  if (url.pathname === "/dev/cut") {
    watchers.forEach(({ response: open }) => open.destroy());
    return json(204);
  }
  if (url.pathname === "/api/v1/session") {
    const cookie = (age) => response.setHeader("set-cookie", `mock_session=1; HttpOnly; SameSite=Strict; Path=/; Max-Age=${age}`);
    if (request.method === "POST" && JSON.parse(body).token === "wrong") return json(401, { title: "Unauthorized", status: 401, detail: "unknown token" });
    if (request.method === "POST") return cookie(3600), json(204);
    if (request.method === "DELETE") return cookie(0), json(204);
    return signedIn ? json(200, { role: "admin" }) : json(401, { title: "Unauthorized", status: 401 });
  }
  if (url.pathname.startsWith("/api/")) {
    if (!signedIn) return json(401, { title: "Unauthorized", status: 401 });
    if (url.pathname === "/api/v1/sites") return json(200, SITES);
    if (url.pathname === "/api/v1/keys") return json(200, [{ key: "wk_5dJ0v3Qm8sT2xY7bN4cF", kind: "write" }]);
    if (url.pathname === "/api/v2/query") return setTimeout(() => json(200, answer(JSON.parse(body))), 8);
    if (url.pathname === "/api/v1/ledger") return json(200, ledger(url.searchParams));
    if (url.pathname === "/api/v1/dead-letters") return json(200, { letters: LETTERS, next: null });
    if (url.pathname === "/api/v1/dead-letters/replay") return json(200, { accepted: 1, rejected: 1, not_replayable: 0, results: [], more: false });
    if (url.pathname === "/api/v1/live") {
      const watcher = { site: Number(url.searchParams.get("site")), response };
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      response.write(`event: now\ndata: ${JSON.stringify({ visitors: visitorsNow(watcher.site) })}\n\n`);
      watchers.add(watcher);
      response.on("close", () => watchers.delete(watcher));
      return;
    }
    return json(404, { title: "Not found", status: 404 });
  }
  const path = extname(url.pathname) === "" ? "/index.html" : normalize(url.pathname);
  try {
    const bytes = await readFile(join(dist, path));
    response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream", "content-security-policy": CSP });
    response.end(bytes);
  } catch {
    response.writeHead(404).end();
  }
});
server.listen(Number(args.port), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/#token=any`));
