// Events as the loader keeps them: with the keys of a JSON event of `POST {collector}/1/events`, so that they can be
// sent as they are; another key would have the event refused.

import type { CapturedEvent, Options, Wakeline } from "./api";
import type { Fate } from "./reply";

export interface WireItem {
  sku: string;
  name: string;
  price: number;
  quantity: number;
}

export interface WireOrder {
  id: string;
  currency: string;
  value: number;
  items: WireItem[];
}

export type WireValue = string | number | boolean | { timestamp: string };

/** `refused` events have the reason as their name. */
export interface WireEvent extends CapturedEvent {
  properties: Record<string, WireValue>;
  order?: WireOrder;
  engagement?: { time_ms: number; scroll_percent: number };
  interactive?: boolean;
}

/** Whose an event is. Another object where any of it changes. */
export interface Person {
  /** The install id; empty: cookieless, or the answer on consent is not there yet. */
  visitor: string;
  user?: string | undefined;
}

/** An event's number in the page's stream, when it happened by `performance.now()`, what happened, and to whom. */
export type Entry = readonly [seq: number, at: number, event: WireEvent, person: Person];

/** The main module, once it is there. */
export interface Main {
  /** An event was queued. */
  record(entry: Entry): void;
  /** Takes what is queued now, if it takes events at all: a beacon has the others. */
  settle(): void;
  /** Until the server has answered for all. */
  flush(): Promise<void>;
  /** The person, or what was agreed to, is new. */
  turned(): Promise<void>;
}

/** What takes events out of the queue, and sends them. */
export interface Sink extends Omit<Main, "turned"> {
  /** Consent is withdrawn: it keeps nothing and sends nothing any more. */
  stop(): void;
}

/** An event that the SDK makes: properties as they come. */
export type Made = Partial<Omit<WireEvent, "properties">> & { type: string; properties?: object | undefined };

/** What the loader shares with the modules that are loaded after it. */
export interface Setup extends Omit<Options, "consent"> {
  /** Where the collector's paths begin, ending in `/`. */
  collector: string;
  /** 16 hex digits: another one after consent was denied. */
  stream: string;
  consent: Options["consent"] | undefined;
  person: Person;
  /** The day of the install's first event, in days since 1970. */
  day: string;
  client: Wakeline;
  /** Events that no sink has. */
  queue: Entry[];
  /** What the names of stored events begin with. */
  prefix: string;
  /** The install id is new: none was stored. */
  fresh?: boolean;
  /** Who was known is to be forgotten: the loader did what it knows of. */
  forgotten?: boolean;
  sink?: Main;
  /** The WebAssembly client failed on this page. */
  failed?: boolean;
  /** Whether anything may be stored on the device. */
  durable: boolean;
  /** Whether consent lets events be stored and sent. */
  allowed(): boolean;
  log(...what: unknown[]): void;
  /** Records an event, of the present person if no other is given. */
  record(event: Made, person?: Person): void;
  /** Records a page view if the address is another one; by `replaceState` only if the path is. */
  routed(replaced: boolean): void;
  /** Runs what must not throw into the page; counts what was refused. */
  safely<A extends unknown[]>(call: (...args: A) => void): (...args: A) => void;
  json(entry: Entry): string;
  /** Where JSON events go. */
  address: string;
  /** Stores the queue anew: what waits has changed. */
  keep(): void;
}

/** Takes what a batch's reply says, which is empty if it was no 202, or the settings of a JSON reply; and the fates of events. */
export type Heard = (reply: Uint8Array | string, fates?: readonly Fate[]) => Promise<void>;

/** The lazily loaded main module. */
export interface SdkModule {
  /** Takes over: from now on it has the events. */
  start(setup: Setup): Promise<void>;
}
