// What a site's code sees.

/** Values that a property may have. Texts over 4,096 bytes are cut, large BigInts become texts, others are left out. */
export type PropertyValue = string | number | boolean | bigint | Date;

/** Names and values that describe an event. `null` and `undefined` are left out silently. */
export type Properties<P = Record<string, unknown>> = {
  readonly [Name in keyof P]: PropertyValue | null | undefined;
};

/** A product that is looked at. Money is in minor units (cents). */
export interface Product {
  readonly sku: string;
  readonly name?: string;
  readonly price?: number;
  /** ISO 4217, upper case. */
  readonly currency?: string;
}

/** A line of a cart or an order. */
export interface Item {
  readonly sku: string;
  readonly name?: string;
  /** Of one piece, in minor units. */
  readonly price: number;
  readonly quantity: number;
}

/** A cart or an order. */
export interface Cart {
  readonly id?: string;
  /** ISO 4217, upper case. */
  readonly currency: string;
  /** Total in minor units. */
  readonly value: number;
  readonly items: readonly Item[];
}

/** An order that was placed: its id tells it from others. */
export interface Order extends Cart {
  readonly id: string;
}

/** Where the person is, where the browser can't say: in a sandbox, in a worker, or on a virtual page. */
export interface Place {
  readonly url: string;
  readonly title?: string;
  readonly referrer?: string;
}

/** What the person answered. While `pending`, events wait in memory; `granted` sends them, `denied` destroys them. */
export type Consent = "granted" | "denied" | "pending";

/** An event on its way, which a plugin may change. */
export interface CapturedEvent {
  /** `page_view`, `click`, `order`, `custom`, … */
  type: string;
  /** Of a custom event. */
  name?: string;
  properties: Record<string, unknown>;
  url?: string;
  referrer?: string;
  title?: string;
}

/** Sees each event before it gets its number. What it returns is recorded; `null`, `false` or nothing drops the event. */
export type Plugin = (event: CapturedEvent) => CapturedEvent | null | undefined | false | void;

/** What can be captured without a call. README.md says what each records. */
export type Capture =
  | "clicks"
  | "rage"
  | "outbound"
  | "downloads"
  | "forms"
  | "scroll"
  | "engagement"
  | "notFound"
  | "vitals"
  | "errors"
  | "search"
  | "swipes";

declare global {
  interface Window {
    /** What the script tag defines; absent if it was not loaded. */
    wakeline?: Wakeline;
  }
}

/** The client. None of its calls throws, and each may be made at any time. */
export interface Wakeline {
  /** The site's write key. */
  readonly key: string;
  /** Records an event of your own. */
  track<P extends Properties<P>>(name: string, properties?: P): void;
  /**
   * Records a view of the page as it is now, or of the place that is given, where then all events are until the next
   * view. Done by itself at start and at each route.
   */
  page(place?: Place): void;
  /** Names the signed-in person, by the site's own id. */
  identify<P extends Properties<P>>(userId: string, properties?: P): void;
  /** Says that `previousId`, a user or install id, is the same person as `userId`. */
  alias(userId: string, previousId: string): void;
  /** Says that the person belongs to a group (a company, a team). */
  group<P extends Properties<P>>(groupId: string, properties?: P): void;
  /** Forgets the person, at sign-out: later events are of a new visitor. */
  reset(): void;
  productView(product: Product): void;
  cart(cart: Cart): void;
  checkout(cart: Cart): void;
  order(order: Order): void;
  /** What the person agreed to. To be said on each page: Wakeline stores no answer. */
  setConsent(consent: Consent): void;
  /** Adds these properties to all later events, which may have others in their place. */
  set<P extends Properties<P>>(properties: P): void;
  /** Adds a plugin. */
  use(plugin: Plugin): void;
  /** Sends what is queued as soon as the server allows; resolves once the server has answered for it. */
  flush(): Promise<void>;
  /** Whether each event, and what became of it, is shown in the console. */
  debug: boolean;
}

export interface Options {
  /** The site's write key. */
  readonly key: string;
  /** Where the collector's paths begin: `https://shop.example/w`. Default: `/w` at the page's own origin. */
  readonly collector?: string;
  /** Whether page views are recorded without being called for. Default: true; in a worker or a sandbox never. */
  readonly pageViews?: boolean;
  /** Whether the part of the URL after `#` belongs to the page: for routers that keep the route there. Default: false. */
  readonly hash?: boolean;
  /** What was answered already. Default: none is asked for, unless the browser objects (GPC, DNT): then `denied`. */
  readonly consent?: Consent;
  /**
   * Where the install id is kept, and with it whether anything is stored on the device. `memory`: nothing is, each page
   * load is a visitor. `none`: nothing is, and the collector tells visitors of one day apart. Default: `storage`.
   */
  readonly persistence?: "storage" | "cookie" | "memory" | "none";
  /** The cookie's domain, so that subdomains share it: `shop.example`. */
  readonly domain?: string;
  /** Other domains of yours: links to them carry the install id, signed, for two minutes. Separated by spaces. */
  readonly linkDomains?: string;
  /** What is captured: names separated by spaces, or `all`. The site's settings may add to it. */
  readonly capture?: string | readonly Capture[];
  /** Whether events have the property `tab.id`, which tells the tabs of a visitor apart. Default: false. */
  readonly tab?: boolean;
  readonly debug?: boolean;
}
