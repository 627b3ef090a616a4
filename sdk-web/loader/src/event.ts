// Events as the loader keeps them: with the keys of a JSON event of `POST {collector}/1/events`, so that they can be
// sent as they are; another key would have the event refused.

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

export interface WireEvent {
  type: string;
  name?: string;
  user?: string | undefined;
  properties?: Record<string, string | number | boolean | Date>;
  order?: WireOrder;
  url?: string;
  referrer?: string;
  title?: string;
}

/** An event's number in the page's stream, when it happened by `performance.now()`, and what happened. */
export type Entry = readonly [seq: number, at: number, event: WireEvent];

/** What takes events once it is loaded. */
export interface Sink {
  record(entry: Entry): void;
  flush(): void;
}

/** What a sink has to know. */
export interface Setup {
  key: string;
  /** Where the collector's paths begin, ending in `/`. */
  collector: string;
  /** 16 hex digits. */
  stream: string;
  /** The install id and the day of its first event, in days since 1970: `id.day`. */
  install: string;
  log(...what: unknown[]): void;
}

/** The lazily loaded module. */
export interface SdkModule {
  start(setup: Setup): Promise<Sink>;
}
