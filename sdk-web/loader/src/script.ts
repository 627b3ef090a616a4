// For a script tag: `<script defer src="…/w/sdk/wakeline.js" data-key="…"></script>`.

import type { Options, Wakeline } from "./api";
import { start } from "./core";

/** Name of the built module beside this script. */
declare const SDK_FILE: string;

type Calls = Record<string, (...args: unknown[]) => void>;

const global = globalThis as unknown as Record<string, (Partial<Wakeline> & { q?: [string, ...unknown[]][] }) | undefined>;
const tag = document.currentScript as HTMLScriptElement | null;
if (tag) {
  const { name = "wakeline", ...given } = tag.dataset;
  const found = global[name];
  // A page may name an element so, or have the script twice.
  if (found?.q || !found?.track) {
    const client = (global[name] = start(
      { ...(given as unknown as Options), collector: new URL("..", tag.src).href },
      () => import(new URL(SDK_FILE, tag.src) as unknown as string), // it takes an address, too
    ));
    // What the page called before.
    for (const [call, ...args] of found?.q ?? []) (client as unknown as Calls)[call]?.(...args);
  }
}
