/** Shortcuts: one letter each, off while somebody types or a modifier is held. */
import { PERIODS } from "./period";
import { choosePeriod, chooseSite, customRangeOpen, helpOpen, nextInterval, screen, shiftPeriod, sites } from "./state";

export function listen(): void {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || screen.value !== "site") return;
    const target = event.target as HTMLElement | null;
    if (target?.closest("input, textarea, select, dialog, [role=menu], [role=listbox], [contenteditable]")) return;
    // Arrows scroll tables and move in groups of choices.
    if (event.key.startsWith("Arrow") && target?.closest("[data-own-arrows]")) return;
    if (act(event.key)) event.preventDefault();
  });
}

function act(key: string): boolean {
  if (key === "ArrowLeft" || key === "ArrowRight") {
    shiftPeriod(key === "ArrowLeft" ? -1 : 1);
    return true;
  }
  if (key === "?") return (helpOpen.value = true);
  if (/^[1-9]$/.test(key)) {
    const site = sites.value[Number(key) - 1];
    if (site) chooseSite(site.domain);
    return site !== undefined;
  }
  const letter = key.toUpperCase();
  if (letter === "I") {
    nextInterval();
    return true;
  }
  if (letter === "C") return (customRangeOpen.value = true);
  const period = PERIODS.find(({ shortcut }) => shortcut === letter);
  if (period) choosePeriod({ key: period.key });
  return period !== undefined;
}
