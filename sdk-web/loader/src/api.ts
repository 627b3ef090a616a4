// What a site's code sees.

/** Values that a property may have. Others, and texts over 4,096 characters, are left out; the console names the first. */
export type PropertyValue = string | number | boolean | Date;

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

declare global {
  interface Window {
    /** What the script tag defines; absent if it was not loaded. */
    wakeline?: Wakeline;
  }
}

/** The client. None of its calls throws, and each may be made at any time. */
export interface Wakeline {
  /** Records an event of your own. */
  track<P extends Properties<P>>(name: string, properties?: P): void;
  /** Records a view of the page as it is now. Done by itself at start and at each History API route. */
  page(): void;
  /** Names the signed-in person, by the site's own id. */
  identify(userId: string): void;
  productView(product: Product): void;
  cart(cart: Cart): void;
  checkout(cart: Cart): void;
  order(order: Order): void;
  /** Sends what is queued as soon as the server allows. */
  flush(): void;
  /** Whether each event, and what became of it, is shown in the console. */
  debug: boolean;
}

export interface Options {
  /** The site's write key. */
  readonly key: string;
  /** Where the collector's paths begin: `https://shop.example/w`. Default: `/w` at the page's own origin. */
  readonly collector?: string;
  /** Whether page views are recorded without being called for. Default: true. */
  readonly pageViews?: boolean;
  readonly debug?: boolean;
}
