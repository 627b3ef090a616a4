import { useEffect, useState } from "preact/hooks";
import { choosePage, choosePeriod, chooseSite } from "../navigate";
import { chooseTheme, connection, helpOpen, isPublic, leave, page, site, sites, theme, view } from "../state";
import { pathOf, searchOf, type Page } from "../url";
import { Keyboard, Mark, Moon, SignOutIcon, Sun } from "./icons";
import { Menu } from "./menu";

export function TopBar() {
  const current = site.value;
  return (
    <header class="topbar">
      <div class="topbar-inner">
        <span class="brand"><Mark /><span class="brand-name">Wakeline</span></span>
        {isPublic ? <span class="site-name">{current?.domain}</span> : (
          <>
            <Menu label={`Site: ${current?.domain ?? ""}`} chosen={current?.domain ?? ""} choose={chooseSite}
              choices={sites.value.map(({ domain }, index) => ({ value: domain, name: domain, ...(index < 9 && { shortcut: String(index + 1) }) }))}>
              <span class="site-name">{current?.domain}</span>
            </Menu>
            <Pages />
          </>
        )}
        <span class="spacer" />
        <ConnectionState />
        <ThemeButton />
        <button type="button" class="button icon-only wide-only" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)"
          onClick={() => (helpOpen.value = true)}>
          <Keyboard />
        </button>
        {!isPublic && (
          <button type="button" class="button icon-only" aria-label="Sign out" title="Sign out" onClick={() => void leave()}>
            <SignOutIcon />
          </button>
        )}
      </div>
    </header>
  );
}

/** Others open a tab or a window, as ever. */
const isPlain = (event: MouseEvent): boolean => event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;

function Pages() {
  const now = page.value === "report" && view.value.period.key === "realtime";
  const link = (name: string, url: string, current: boolean, go: () => void) => (
    <a href={url} aria-current={current ? "page" : undefined}
      onClick={(event) => {
        if (!isPlain(event)) return;
        event.preventDefault();
        go();
      }}>{name}</a>
  );
  const to = (target: Page, name: string) => link(name, pathOf(target) + searchOf(view.value), page.value === target, () => choosePage(target));
  const period = (key: "day" | "realtime") => () => {
    choosePage("report");
    if ((view.value.period.key === "realtime") !== (key === "realtime")) choosePeriod({ key });
  };
  const report = (key: "day" | "realtime") => pathOf("report") + searchOf({ ...view.value, period: { key }, interval: "" });
  return (
    <nav class="nav" aria-label="Pages">
      {link("Report", now ? report("day") : pathOf("report") + searchOf(view.value), page.value === "report" && !now, period("day"))}
      {link("Realtime", report("realtime"), now, period("realtime"))}
      {to("goals", "Goals")}{to("ledger", "Ledger")}{to("rules", "Rules")}{to("sharing", "Sharing")}
    </nav>
  );
}

const STATES = {
  live: ["Live", "Figures are updated as events arrive"],
  connecting: ["Connecting", "Connecting to the server"],
  waiting: ["Offline", "The connection was lost; trying again"],
} as const;

function ConnectionState() {
  const [name, meaning] = STATES[connection.value];
  return (
    <span class={`connection connection-${connection.value}`} role="status" title={meaning}>
      <span class="dot" aria-hidden="true" /><span class="connection-name">{name}</span>
    </span>
  );
}

const systemDark = matchMedia("(prefers-color-scheme: dark)");

/** Whether the page is dark now, by choice or by the system's setting. */
export function useDark(): boolean {
  const [system, setSystem] = useState(systemDark.matches);
  useEffect(() => {
    const listen = () => setSystem(systemDark.matches);
    systemDark.addEventListener("change", listen);
    return () => systemDark.removeEventListener("change", listen);
  }, []);
  return theme.value === "auto" ? system : theme.value === "dark";
}

function ThemeButton() {
  const dark = useDark();
  const toggle = () => {
    const next = dark ? "light" : "dark";
    // Choosing what the system says anyway means to follow it again.
    chooseTheme((next === "dark") === systemDark.matches ? "auto" : next);
  };
  const name = dark ? "Light colours" : "Dark colours";
  return (
    <button type="button" class="button icon-only" aria-label={name} title={name} onClick={toggle}>
      {dark ? <Sun /> : <Moon />}
    </button>
  );
}
