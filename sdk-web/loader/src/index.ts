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

/** Starts recording on this page, once for each key. On a server it gives a client that does nothing. */
export const init = (options: Options): Wakeline => {
  if (typeof document == "undefined") {
    return {
      track: nothing,
      page: nothing,
      identify: nothing,
      productView: nothing,
      cart: nothing,
      checkout: nothing,
      order: nothing,
      flush: nothing,
      debug: false,
    };
  }
  const collector = new URL(`${options.collector ?? "/w"}/`, location.href).href.replace(/\/+$/, "/");
  let client = started.get(options.key);
  if (!client) {
    client = start({ ...options, collector }, () => import(SDK_FILE) as Promise<SdkModule>);
    started.set(options.key, client);
  }
  return client;
};
