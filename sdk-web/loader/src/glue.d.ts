// What wasm-bindgen makes of ../../src/lib.rs, as far as it is used.
declare module "wakeline-glue" {
  export default function init(options: { module_or_path: URL }): Promise<unknown>;
  export class Core {
    constructor(
      key: string,
      stream: string,
      install: string,
      firstDay: number,
      language: string,
      timezone: string,
      screenWidth: number,
      screenHeight: number,
      mono: number,
      wall: number,
    );
    restore(snapshot: string, mono: number, wall: number): number;
    page(url: string, referrer: string, title: string): void;
    text(name: string, value: string): void;
    number(name: string, value: number): void;
    flag(name: string, value: boolean): void;
    time(name: string, ms: number): void;
    order(id: string, currency: string, value: number): void;
    item(sku: string, name: string, price: number, quantity: number): void;
    record(seq: number, at: number, type: string, name: string, mono: number, wall: number): string;
    flush(): void;
    step(mono: number, wall: number): number;
    body(): Uint8Array<ArrayBuffer>;
    reply(status: number, retryAfter: number, body: Uint8Array, mono: number, wall: number): void;
    leave(maxBytes: number, mono: number, wall: number): number;
    beacon(index: number): Uint8Array<ArrayBuffer>;
    beaconed(index: number, mono: number, wall: number): void;
    snapshot(mono: number, wall: number): string;
    waiting(): number;
    fates(): string;
    lost(): string;
  }
}
