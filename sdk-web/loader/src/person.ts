// Who the page's events are of: the install id, where it is kept, and what consent lets be kept.

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

/** A new install id, and today. */
export const fresh = () => {
  const id = Array.from(crypto.getRandomValues(new Uint8Array(11)), (byte) => (byte + 256).toString(16).slice(1));
  return `${id.join("")}.${Math.floor(Date.now() / 864e5)}`;
};

/** The install id that is stored, as `id.day`: the cookie's first, which other subdomains may have set. */
const stored = ({ persistence, durable }: Setup) =>
  attempt(() => {
    const cookie = persistence == "cookie" && /(?:^|; )wakeline=([^;]+)/.exec(document.cookie)?.[1];
    const found = cookie || (durable && localStorage.getItem(NAME)) || "";
    return INSTALL.test(found) ? found : undefined;
  });

/**
 * Gives what waits for an id, and what comes, this one (`id.day`), the one that is stored, the page's own, or a new one,
 * and stores it where it may be.
 */
export const adopt = (setup: Setup, known = stored(setup)) => {
  const { person, queue, persistence, durable, consent, day } = setup;
  const own = person.visitor && `${person.visitor}.${day}`;
  const install = persistence == "none" ? "" : known || own || fresh();
  if (install && durable) {
    attempt(() => localStorage.setItem(NAME, install));
    if (persistence == "cookie") attempt(() => setCookie(setup, install, COOKIE_AGE));
  }
  const [visitor = "", first = ""] = install.split(".");
  for (const [, , , waiting] of queue) {
    if (waiting.visitor == person.visitor) Object.assign(waiting, { visitor, consent });
  }
  setup.person = { ...person, visitor, consent };
  setup.day = first;
  setup.keep();
};

/** Leaves nothing on the device, and nobody known. */
export const forget = (setup: Setup) => {
  setup.queue = [];
  setup.keep();
  setup.person = { visitor: "" };
  attempt(() => {
    if (setup.persistence == "cookie") setCookie(setup, "", 0);
    for (const name of Object.keys(localStorage)) if (name.startsWith(NAME)) localStorage.removeItem(name);
  });
};
