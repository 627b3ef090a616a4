// For a script tag: `<script defer src="…/w/sdk/wakeline.js" data-key="…"></script>`.

import type { Wakeline } from "./api";
import { start } from "./core";

/** Name of the built module beside this script. */
declare const SDK_FILE: string;

const global = globalThis as { wakeline?: Partial<Wakeline> };
const tag = document.currentScript as HTMLScriptElement | null;
// A page may name an element so, or have the script twice.
if (tag && !global.wakeline?.track) {
  const { key, pageViews, debug } = tag.dataset;
  global.wakeline = start(
    {
      key: key ?? "",
      collector: new URL("..", tag.src).href,
      pageViews: pageViews != "false",
      debug: debug != undefined,
    },
    () => import(new URL(SDK_FILE, tag.src).href),
  );
}
