/** The ledger: what became of everything that was received, and what to do about it. No DOM, no clock. */

export interface FateLine {
  /** When it begins, RFC 3339. */
  readonly time: string;
  readonly received: number;
  readonly accepted: number;
  readonly rejected: Readonly<Record<string, number>>;
  readonly counted: number;
  readonly duplicate: number;
  readonly late: number;
  readonly unreadable: number;
  readonly lost_corrupt: number;
  /** Not among what was received. */
  readonly lost_by_client: number;
  readonly unsettled: number;
}

export type Step = "hour" | "day";

export interface Ledger {
  readonly site: string;
  readonly interval: Step;
  readonly from: string;
  readonly to: string;
  readonly lines: readonly FateLine[];
  readonly total: FateLine;
  readonly waiting: {
    readonly log_records: number;
    readonly collectors: readonly { readonly edge: string; readonly connected: boolean; readonly pending: number; readonly said_at: string }[];
  };
}

export interface Letter {
  readonly id: string;
  readonly received_at: string;
  readonly reason: string;
  readonly detail: string;
  readonly payload: unknown;
  readonly replayed_at: string | null;
  readonly outcome: string | null;
}

/** What belongs to no site. */
export const UNKNOWN = "(unknown)";

const STEP_MS = { hour: 3_600_000, day: 86_400_000 } as const;

/** Fates of a line in the order in which they are stacked, from below. */
export const FATES = ["counted", "duplicate", "late", "unreadable", "lost_corrupt", "rejected"] as const;
export type Fate = (typeof FATES)[number];

export const FATE_NAMES: Readonly<Record<Fate, readonly [name: string, meaning: string]>> = {
  counted: ["Counted", "In the figures."],
  duplicate: ["Duplicate", "Sent again after it had been counted: no harm, nothing to do."],
  late: ["Late", "Its day was closed when it came: it shows after the next rebuild."],
  unreadable: ["Unreadable", "In a record of the log that can't be read: look at the aggregator's log."],
  lost_corrupt: ["Lost to damage", "It was acknowledged, and then a disk changed it: check the disks of collectors and aggregator."],
  rejected: ["Refused", "Not counted, for the reasons below."],
};

/** What is no fate, since it never came. */
export const LOST_BY_CLIENT: readonly [name: string, meaning: string] = [
  "Never came",
  "Pages and apps gave these events a number and could not deliver them: a browser without storage was closed while offline, or a queue was full. Known a day after the last event of the same page.",
];

/** Reasons in plain words, and what helps. */
const REASONS: Readonly<Record<string, readonly [name: string, advice: string]>> = {
  malformed: ["Can't be read", "Look at the event below: a key is unknown or of the wrong kind. Mend the sender, then replay."],
  too_large: ["Too large", "A text, a list or the event is over its limit. Send less."],
  invalid_visitor: ["No visitor", "Give each event a visitor of 1 to 128 bytes."],
  invalid_type: ["No known type", "Give one of the types that the documentation lists."],
  invalid_name: ["No valid name", "Custom events need a name; names have no control characters."],
  invalid_url: ["No valid URL", "Send whole URLs, such as https://shop.example/page."],
  invalid_time: ["No valid time", "Send times as RFC 3339, after the year 2000."],
  too_old: ["Too old", "It happened more than 30 days before it came. If that is right, replay it: times are trusted then."],
  invalid_money: ["No valid amount", "Amounts are whole numbers of minor units; currencies are three capitals, such as EUR."],
  invalid_property: ["No valid property", "Properties are texts, numbers, true or false, or timestamps."],
  no_consent: ["No consent", "The person did not agree, or their browser says so. Only counted, as it should be."],
  unknown_key: ["Unknown key", "Requests whose key nobody knows: was one revoked, or is it mistyped in a page?"],
  bot: ["A bot", "Software that says it is a crawler. The site's rules can let bots be counted."],
  spam: ["Spam", "The referrer is known for spam. The site's rules can let it be counted."],
  foreign_host: ["Another host", "The page's host is not on the site's list: if it is yours, add it to the rules, then replay. Also whole requests of an origin or an app that may not send, counted by requests; those are not kept."],
  blocked_path: ["Blocked path", "The site's rules take nothing from this path."],
  datacentre: ["Datacentre", "It came from a network that rents out machines, which the site's rules refuse. People behind a VPN come from there, too."],
  not_sampled: ["Not sampled", "The visitor is not among the share that the site's rules take. Only counted, as it should be."],
  schema_mismatch: ["Not as its schema says", "Mend the sender, or the schema in the site's rules, then replay."],
  too_many_names: ["Too many names", "The site made up more names of events or properties in a day than its collector’s limits allow: put what varies into a value."],
  rate_limited: ["Over a limit", "Whole requests over a limit of the site, counted by requests: most senders come again later; and events beyond the day's limit. The site's rules have the limits."],
  unreadable: ["Unreadable", "In a record of the log that can't be read: look at the aggregator's log."],
};

export function explain(reason: string): { readonly name: string; readonly advice: string } {
  const [name, advice] = Object.hasOwn(REASONS, reason) ? (REASONS[reason] ?? []) : [];
  const words = reason.replaceAll("_", " ");
  return { name: name ?? words.charAt(0).toUpperCase() + words.slice(1), advice: advice ?? "See the detail of its dead letters." };
}

export function amount(line: FateLine, fate: Fate): number {
  return fate === "rejected" ? line.received - line.accepted - line.lost_corrupt : line[fate];
}

/** Reasons of a line, the most frequent first. */
export function reasons(line: FateLine): readonly (readonly [reason: string, count: number])[] {
  return Object.entries(line.rejected).sort(([a, m], [b, n]) => n - m || a.localeCompare(b));
}

const nothing = (time: string): FateLine => ({
  time, received: 0, accepted: 0, rejected: {}, counted: 0, duplicate: 0, late: 0, unreadable: 0, lost_corrupt: 0, lost_by_client: 0, unsettled: 0,
});

/** Every line of the time, also those in which nothing came. */
export function whole(ledger: Ledger): readonly FateLine[] {
  const step = STEP_MS[ledger.interval];
  const known = new Map(ledger.lines.map((line) => [Date.parse(line.time), line]));
  const lines: FateLine[] = [];
  for (let at = Date.parse(ledger.from); at < Date.parse(ledger.to); at += step) {
    lines.push(known.get(at) ?? nothing(new Date(at).toISOString()));
  }
  return lines;
}

/** `14:00` or `21 Nov`, in UTC as the ledger is. */
export function lineLabel(time: string, step: Step): string {
  const date = new Date(time);
  return step === "hour" ? date.toISOString().slice(11, 16)
    : date.toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
}

/** Events that collectors had not sent when they last said so. */
export function pending(ledger: Ledger): number {
  return ledger.waiting.collectors.reduce((sum, each) => sum + each.pending, 0);
}
