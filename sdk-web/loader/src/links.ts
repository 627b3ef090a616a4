// The install id on links to other domains of the same owner: `_wl=id.day.time.check`, good for two minutes and in the
// same browser. The check keeps a link that is passed on from making two people one; it is no secret.

import type { Setup } from "./event";
import { adopt } from "./person";

const PARAMETER = "_wl";
const GOOD_FOR_MS = 120_000;

/** FNV-1a of what the link says and of the browser it is for. */
export const check = (text: string) => {
  let hash = 0x811c9dc5;
  for (const character of `${text} ${navigator.userAgent} ${navigator.language} ${new Date().getTimezoneOffset()}`) {
    hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193);
  }
  return (hash >>> 0).toString(36);
};

/** What a link says now. */
export const sign = (key: string, install: string, now: number) => {
  const text = `${install}.${Math.floor(now / 1_000).toString(36)}`;
  return `${text}.${check(`${key} ${text}`)}`;
};

/** The install id (`id.day`) that a link brought, if it is in time and for this browser. */
export const brought = (key: string, value: string, now: number) => {
  const [, text, install, time, said] = /^(([\w-]{22}\.\d+)\.([0-9a-z]+))\.([0-9a-z]+)$/.exec(value) ?? [];
  const age = now - parseInt(time ?? "", 36) * 1_000;
  return said == check(`${key} ${text}`) && age > -GOOD_FOR_MS && age < GOOD_FOR_MS ? install : undefined;
};

/** The address without the parameter. */
const without = (address: string) => address.replace(/([?&])_wl=[^&#]*(&?)/, (_, before, more) => (more ? before : ""));

export const start = (setup: Setup) => {
  const domains = setup.linkDomains?.split(/[\s,]+/).filter(Boolean) ?? [];
  const ours = (host: string) => domains.some((domain) => host == domain || host.endsWith(`.${domain}`));

  const value = new URLSearchParams(location.search).get(PARAMETER);
  if (value) {
    const install = brought(setup.key, value, Date.now());
    if (install && setup.allowed()) adopt(setup, install);
    for (const [, , event] of setup.queue) event.url = without(event.url ?? "");
    setup.keep();
    // The next copy of the address is to be nobody's.
    history.replaceState(history.state, "", without(location.href));
  }

  const follow = setup.safely((event: MouseEvent) => {
    const link = (event.composedPath()[0] as Element).closest?.("a[href]");
    const url = link && new URL(link.getAttribute("href") ?? "", document.baseURI);
    const { visitor } = setup.person;
    if (!url || url.host == location.host || !ours(url.hostname) || !visitor || !setup.allowed()) return;
    url.searchParams.set(PARAMETER, sign(setup.key, `${visitor}.${setup.day}`, Date.now()));
    link.setAttribute("href", url.href);
  });
  addEventListener("click", follow, true);
  addEventListener("auxclick", follow, true);
};
