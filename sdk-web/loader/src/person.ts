// Who the page's events are of, where the loader does not know it: cookies, other pages, links.

import type { Setup } from "./event";

const NAME = "wakeline";
/** In seconds: browsers keep a cookie for at most 400 days. */
const COOKIE_AGE = 34_000_000;
const INSTALL = /^[\w-]{22}\.\d+$/;

/** Nothing that storage refuses is the page's. */
const attempt = <R>(call: () => R) => {
  try {
    return call();
  } catch {
    return undefined;
  }
};

const setCookie = ({ domain }: Setup, value: string, age: number) => {
  document.cookie = `${NAME}=${value};path=/;samesite=lax;max-age=${age};domain=${domain ?? ""}`;
};

/** The install id that is stored, as `id.day`: the cookie's first, which other subdomains may have set. */
const stored = ({ persistence, durable }: Setup) =>
  attempt(() => {
    const cookie = persistence == "cookie" && /(?:^|; )wakeline=([^;]+)/.exec(document.cookie)?.[1];
    const found = cookie || (durable && localStorage.getItem(NAME)) || "";
    return INSTALL.test(found) ? found : undefined;
  });

/** Gives what waits for an id, and what comes, this one (`id.day`), the one that is stored, or the page's own, and stores it where it may be. */
export const adopt = (setup: Setup, known = stored(setup)) => {
  const { person, queue, persistence, durable, day } = setup;
  const own = person.visitor && `${person.visitor}.${day}`;
  const install = persistence == "none" ? "" : known || own;
  if (install && durable) {
    attempt(() => localStorage.setItem(NAME, install));
    if (persistence == "cookie") attempt(() => setCookie(setup, install, COOKIE_AGE));
  }
  const [visitor = "", first = ""] = install.split(".");
  for (const [, , , waiting] of queue) {
    if (!waiting.visitor || waiting.visitor == person.visitor) waiting.visitor = visitor;
  }
  setup.person = { ...person, visitor };
  setup.day = first;
  setup.keep();
};

/** Leaves nothing on the device of who is forgotten, and where consent is denied, nothing that waits. */
export const forget = (setup: Setup) => {
  setup.forgotten = setup.fresh = false;
  if (setup.persistence == "cookie") attempt(() => setCookie(setup, "", 0));
  if (setup.consent == "denied") attempt(() => indexedDB.deleteDatabase("wakeline"));
};
