// For bundlers: `import { init } from "wakeline"`. Importing it does nothing, so that it can be rendered on servers.

// With its extension, as Node's resolution wants it in what is published.
import type { Options, Wakeline } from "./api.js";
import { start } from "./core";
import type { SdkModule } from "./event";

export type * from "./api.js";

/** Name of the built module beside this one. */
declare const SDK_FILE: string;

const nothing = () => {};

const started = new Map<string, Wakeline>();

/** Starts recording on this page, or in this worker, once for each key. On a server it gives a client that does nothing. */
export const init = (options: Options): Wakeline => {
  if (typeof location == "undefined") {
    return {
      key: options.key,
      track: nothing,
      page: nothing,
      identify: nothing,
      alias: nothing,
      group: nothing,
      reset: nothing,
      productView: nothing,
      cart: nothing,
      checkout: nothing,
      order: nothing,
      setConsent: nothing,
      set: nothing,
      use: nothing,
      flush: async () => {},
      debug: false,
    };
  }
  // A sandbox's own address is no base.
  const base = typeof document == "undefined" ? location.href : document.baseURI;
  const collector = new URL(`${options.collector ?? "/w"}/`, base).href.replace(/\/+$/, "/");
  const global = globalThis as { wakeline?: Wakeline };
  let client = started.get(options.key);
  // A script tag may have been quicker.
  if (!client && global.wakeline?.key == options.key) client = global.wakeline;
  client ??= start({ ...options, collector }, () => import(SDK_FILE) as Promise<SdkModule>);
  started.set(options.key, client);
  // Nor is a script tag to start another one.
  if (typeof global.wakeline?.track != "function") global.wakeline = client;
  return client;
};
