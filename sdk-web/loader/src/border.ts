// The WebAssembly client's other side: see `../../src/border.rs`. Each client is an instance of the module, with its
// own memory.

import type { Person, WireEvent } from "./event";
import type { Fate } from "./reply";

/** Of the client. */
declare const VERSION: string;

interface Exports {
  memory: WebAssembly.Memory;
  input(length: number): number;
  output(): number;
  start(keyLength: number, mono: number, wall: number): void;
  follow(waitUntil: number, mono: number, wall: number): void;
  inherit(at: number, heldUntil: number, mono: number, wall: number): number;
  person(length: number, firstDay: number, granted: number): void;
  record(seq: number, at: number, mono: number, wall: number): number;
  flush(): void;
  step(mono: number, wall: number): number;
  length(): number;
  reply(status: number, retryAfter: number, mono: number, wall: number): void;
  leave(maxBytes: number, mono: number, wall: number): number;
  beacon(index: number): number;
  beaconed(index: number, mono: number, wall: number): void;
  fates(): number;
}

/** By their numbers, from 1. */
const TYPES =
  "page_view screen_view click scroll swipe form engagement product_view cart checkout order identify exposure custom".split(
    " ",
  );
/** Kinds of values. */
const TEXT = 0;
const INTEGER = 1;
const NUMBER = 2;
const FLAG = 3;
const TIME = 4;

const utf8 = new TextEncoder();
const clock = () => [performance.now(), Date.now()] as const;

/** What is being written. */
let out: number[] = [];

const written = (write: () => void) => {
  const outer = out;
  const inner: number[] = (out = []);
  write();
  out = outer;
  return inner;
};
const bytes = (from: Iterable<number>) => {
  for (const byte of from) out.push(byte);
};
/** A varint. */
const number = (value: number) => {
  for (; value > 127; value = Math.floor(value / 128)) out.push(value % 128 | 128);
  out.push(value);
};
/**
 * The zigzag code of a whole number, of which not even the highest bit is rounded; with a `kind`, before the three bits that
 * say it.
 */
const signed = (value: number, kind?: number) => {
  const unit = kind == undefined ? 64 : 8;
  const size = value < 0 ? -1 - value : value;
  const low = ((size % unit) * 2 + +(value < 0)) * (64 / unit) + (kind ?? 0);
  const high = Math.floor(size / unit);
  out.push(high ? low | 128 : low);
  if (high) number(high);
};
const sized = (from: ArrayLike<number> & Iterable<number>) => {
  number(from.length);
  bytes(from);
};
const text = (value = "") => sized(utf8.encode(value));
/** Fields of a protobuf message. */
const part = (field: number, write: () => void) => {
  out.push(field << 3 | 2);
  sized(written(write));
};
const texts = (...values: string[]) =>
  values.forEach((value, index) => {
    out.push(index + 1 << 3 | 2);
    text(value);
  });
const field = (field: number, value: number) => {
  out.push(field << 3);
  number(value);
};

/** Writes an event as the client reads it: `../../../proto/client/src/packed.rs`. */
const pack = ({ type, name, properties, order, engagement, interactive, url, referrer, title }: WireEvent) => {
  out.push(+(interactive == false), TYPES.indexOf(type) + 1); // type 0: refused
  for (const value of [url, referrer, title, name]) text(value);
  const values = Object.entries(properties);
  number(values.length);
  for (const [name] of values) text(name);
  for (const [, value] of values) {
    if (typeof value == "string") {
      out.push(TEXT);
      text(value);
    } else if (typeof value == "boolean") out.push(+value << 3 | FLAG);
    else if (typeof value != "number") signed(Date.parse(value.timestamp), TIME);
    else if (Number.isSafeInteger(value)) signed(value, INTEGER);
    else {
      out.push(NUMBER);
      bytes(new Uint8Array(Float64Array.of(value).buffer));
    }
  }
  if (order) {
    part(6, () => {
      texts(order.id, order.currency);
      out.push(3 << 3);
      signed(order.value);
      for (const { sku, name, price, quantity } of order.items) {
        part(4, () => {
          texts(sku, name);
          out.push(3 << 3);
          signed(price);
          field(4, quantity);
        });
      }
    });
  }
  if (engagement) {
    part(7, () => {
      field(1, engagement.time_ms);
      field(2, engagement.scroll_percent);
    });
  }
};

/** Eight bytes; every browser's machine has little endian. */
const long = (value: string) => bytes(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
/** An event's id, as `stream.number`; all zeros if there is none. */
const id = (of?: string | null) => {
  const [stream, seq] = (of || "0.0").split(".") as [string, string];
  long("0x" + stream);
  long(seq);
};

let compiled: Promise<WebAssembly.Module> | undefined;

export type Core = Awaited<ReturnType<typeof connect>>;

/** A client, of this write key and stream. */
export const connect = async (
  url: URL,
  key: string,
  stream: string,
  device: [language: string, timezone: string],
  screen: { width: number; height: number } | undefined,
) => {
  const { exports } = await WebAssembly.instantiate(await (compiled ??= WebAssembly.compileStreaming(fetch(url))));
  const wasm = exports as unknown as Exports;
  /** Gives what is written; gives its length. */
  const give = (write: () => void) => {
    const bytes = written(write);
    const at = wasm.input(bytes.length);
    new Uint8Array(wasm.memory.buffer).set(bytes, at);
    return bytes.length;
  };
  const taken = (length: number) => {
    const at = wasm.output();
    return new Uint8Array(wasm.memory.buffer as ArrayBuffer).slice(at, at + length);
  };
  const keyBytes = utf8.encode(key);
  give(() => {
    long("0x" + stream);
    bytes(keyBytes);
    part(4, () => texts("web", VERSION));
    part(5, () => {
      texts(...device);
      if (screen) {
        field(3, screen.width);
        field(4, screen.height);
      }
    });
  });
  wasm.start(keyBytes.length, ...clock());
  return {
    /** The last event of an earlier page, and until when that was asked to wait. */
    follow(last: string | null | undefined, waitUntil: number) {
      give(() => id(last));
      wasm.follow(waitUntil, ...clock());
    },
    /** Takes over what another page stored: times are by the wall clock. */
    inherit(of: string, before: string | null | undefined, at: number, heldUntil: number, event: WireEvent) {
      give(() => {
        id(of);
        id(before);
        pack(event);
      });
      wasm.inherit(at, heldUntil, ...clock());
    },
    /** Whose the next events are. */
    person({ visitor, user }: Person, firstDay: number, granted: boolean) {
      const install = utf8.encode(visitor);
      give(() => {
        bytes(install);
        bytes(utf8.encode(user));
      });
      wasm.person(install.length, firstDay, +granted);
    },
    record(seq: number, at: number, event: WireEvent) {
      give(() => pack(event));
      wasm.record(seq, at, ...clock());
    },
    flush: wasm.flush,
    /** What to do now: send `body` (−1), nothing (−2), or ask again at this time. */
    step: () => wasm.step(...clock()),
    /** What `step` has to send. */
    body: () => taken(wasm.length()),
    reply(status: number, retryAfter: number, body: Uint8Array) {
      give(() => bytes(body));
      wasm.reply(status, retryAfter, ...clock());
    },
    leave: (maxBytes: number) => wasm.leave(maxBytes, ...clock()),
    beacon: (index: number) => taken(wasm.beacon(index)),
    beaconed: (index: number) => wasm.beaconed(index, ...clock()),
    /** What became of events since the last call: 0 if the server has it, 1 if it refused it, more if it was given up. */
    fates() {
      const bytes = taken(wasm.fates());
      const view = new DataView(bytes.buffer);
      const fates: Fate[] = [];
      for (let at = 0; at < bytes.length; at += 17) {
        const stream = view.getBigUint64(at, true).toString(16).padStart(16, "0");
        fates.push([`${stream}.${view.getBigUint64(at + 8, true)}`, bytes[at + 16]!]);
      }
      return fates;
    },
  };
};
