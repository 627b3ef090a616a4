// The WebAssembly client's other side: see `../../src/border.rs`. Each client is an instance of the module, with its
// own memory.

import type { WireEvent } from "./event";

interface Exports {
  memory: WebAssembly.Memory;
  input(length: number): number;
  output(): number;
  start(width: number, height: number, mono: number, wall: number): void;
  restore(mono: number, wall: number): number;
  person(firstDay: number, consent: number): void;
  record(seq: number, at: number, mono: number, wall: number): number;
  flush(): void;
  step(mono: number, wall: number): number;
  length(): number;
  reply(status: number, retryAfter: number, mono: number, wall: number): void;
  leave(maxBytes: number, mono: number, wall: number): number;
  beacon(index: number): number;
  beaconed(index: number, mono: number, wall: number): void;
  snapshot(maxBytes: number, mono: number, wall: number): number;
  waiting(): number;
  lost(): number;
  fates(): number;
}

/** By their numbers, from 1. */
const TYPES =
  "page_view screen_view click scroll swipe form engagement product_view cart checkout order identify exposure custom".split(
    " ",
  );
/** What an event's first byte says. */
const PASSIVE = 4;
const ORDER = 8;
const ENGAGEMENT = 16;
/** Kinds of values. */
const TEXT = 0;
const NUMBER = 2;
const NO = 3;
const TIME = 5;

const utf8 = new TextEncoder();
const clock = () => [performance.now(), Date.now()] as const;

/** An event as the client reads it. */
const encode = ({ type, name, properties, order, engagement, interactive, url, referrer, title }: WireEvent) => {
  const out: number[] = [];
  /** A varint. */
  const number = (value: number) => {
    for (; value > 127; value = Math.floor(value / 128)) out.push(value % 128 | 128);
    out.push(value);
  };
  /** Its zigzag code, of which not even the highest bit is rounded. */
  const signed = (value: number) => {
    const size = value < 0 ? -1 - value : value;
    const low = (size % 64) * 2 + +(value < 0);
    const high = Math.floor(size / 64);
    out.push(high ? low | 128 : low);
    if (high) number(high);
  };
  const text = (value = "") => {
    const bytes = utf8.encode(value);
    out.push(0);
    number(bytes.length);
    for (const byte of bytes) out.push(byte);
  };
  out.push((interactive == false ? PASSIVE : 0) | (order ? ORDER : 0) | (engagement ? ENGAGEMENT : 0));
  text(url);
  text(referrer);
  text(title);
  out.push(TYPES.indexOf(type) + 1); // 0: refused
  text(name);
  const values = Object.entries(properties);
  number(values.length);
  for (const [name, value] of values) {
    text(name);
    if (typeof value == "string") {
      out.push(TEXT);
      text(value);
    } else if (typeof value == "number") {
      out.push(NUMBER, ...new Uint8Array(Float64Array.of(value).buffer));
    } else if (typeof value == "boolean") {
      out.push(NO + +value);
    } else {
      out.push(TIME);
      signed(Date.parse(value.timestamp));
    }
  }
  if (order) {
    text(order.id);
    text(order.currency);
    signed(order.value);
    number(order.items.length);
    for (const { sku, name, price, quantity } of order.items) {
      text(sku);
      text(name);
      signed(price);
      number(quantity);
    }
  }
  if (engagement) {
    number(engagement.time_ms);
    number(engagement.scroll_percent);
  }
  return out;
};

let compiled: Promise<WebAssembly.Module> | undefined;

const compile = async (url: URL) => {
  try {
    return await WebAssembly.compileStreaming(fetch(url));
  } catch {
    // Not there, or a server that does not say what the file is.
    return WebAssembly.compile(await (await fetch(url)).arrayBuffer());
  }
};

export type Core = Awaited<ReturnType<typeof connect>>;

/** A client. `texts`: write key, stream, language, time zone. */
export const connect = async (url: URL, texts: string[], width: number, height: number) => {
  const { exports } = await WebAssembly.instantiate(await (compiled ??= compile(url)));
  const wasm = exports as unknown as Exports;
  const give = (bytes: ArrayLike<number>) => {
    const at = wasm.input(bytes.length);
    new Uint8Array(wasm.memory.buffer).set(bytes, at);
  };
  const taken = (length: number) => {
    const at = wasm.output();
    return new Uint8Array(wasm.memory.buffer as ArrayBuffer).slice(at, at + length);
  };
  const said = (length: number) => {
    const bytes = taken(length);
    let text = "";
    // As many at a time as a call may have arguments.
    for (let at = 0; at < length; at += 8_192) text += String.fromCharCode(...bytes.subarray(at, at + 8_192));
    return text;
  };
  give(utf8.encode(texts.join("\0")));
  wasm.start(width, height, ...clock());
  return {
    restore(snapshot: string) {
      give(Array.from(snapshot, (byte) => byte.charCodeAt(0)));
      return wasm.restore(...clock());
    },
    /** Whose the next events are. `texts`: install id, user. `consent`: 1 if granted, else 0. */
    person(texts: string[], firstDay: number, consent: number) {
      give(utf8.encode(texts.join("\0")));
      wasm.person(firstDay, consent);
    },
    /** Gives why it was refused, if it was. */
    record(seq: number, at: number, event: WireEvent) {
      give(encode(event));
      return said(wasm.record(seq, at, ...clock()));
    },
    flush: wasm.flush,
    /** What to do now: send `body` (−1), nothing (−2), or ask again at this time. */
    step: () => wasm.step(...clock()),
    /** What `step` has to send. */
    body: () => taken(wasm.length()),
    reply(status: number, retryAfter: number, body: Uint8Array) {
      give(body);
      wasm.reply(status, retryAfter, ...clock());
    },
    leave: (maxBytes: number) => wasm.leave(maxBytes, ...clock()),
    beacon: (index: number) => taken(wasm.beacon(index)),
    beaconed: (index: number) => wasm.beaconed(index, ...clock()),
    /**
     * The newest events of so many bytes (−1: all), as a text with a character for each byte, as `localStorage` takes
     * it, and whether these are all.
     */
    snapshot(maxBytes: number): [text: string, whole: boolean] {
      const length = wasm.snapshot(maxBytes, ...clock());
      return [said(length < 0 ? ~length : length), length >= 0];
    },
    waiting: wasm.waiting,
    lost: () => said(wasm.lost()),
    fates: () => said(wasm.fates()),
  };
};
