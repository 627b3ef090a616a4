/** Shortcuts: one letter each, off while somebody types or a modifier is held. */
import { chooseSite, choosePeriod, clearFilters, nextInterval, shiftPeriod, toggleComparison } from "./navigate";
import { PERIODS } from "./period";
import { customRangeOpen, filterOpen, helpOpen, isPublic, page, screen, sites } from "./state";

export function listen(): void {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || screen.value !== "site") return;
    const target = event.target as HTMLElement | null;
    if (target?.closest("input, textarea, select, [role=menu], [role=listbox], [contenteditable]")) return;
    const dialog = document.querySelector<HTMLDialogElement>("dialog[open]");
    if (dialog) {
      const search = event.key === "/" ? dialog.querySelector<HTMLInputElement>("input[type=search]") : undefined;
      search?.focus();
      if (search) event.preventDefault();
      return;
    }
    // Arrows scroll tables and move in groups of choices.
    if (event.key.startsWith("Arrow") && target?.closest("[data-own-arrows]")) return;
    if (act(event.key)) event.preventDefault();
  });
}

function act(key: string): boolean {
  if (key === "?") return (helpOpen.value = true);
  if (/^[1-9]$/.test(key) && !isPublic) {
    const site = sites.value[Number(key) - 1];
    if (site) chooseSite(site.domain);
    return site !== undefined;
  }
  return page.value === "report" && actOnReport(key);
}

function actOnReport(key: string): boolean {
  switch (key.length === 1 ? key.toUpperCase() : key) {
    case "ArrowLeft":
      shiftPeriod(-1);
      return true;
    case "ArrowRight":
      shiftPeriod(1);
      return true;
    case "Escape":
      clearFilters();
      return true;
    case "/":
      filterOpen.value = -1;
      return true;
    case "I":
      nextInterval();
      return true;
    case "X":
      toggleComparison();
      return true;
    case "C":
      return (customRangeOpen.value = true);
    default: {
      const period = PERIODS.find(({ shortcut }) => shortcut === key.toUpperCase());
      if (period) choosePeriod({ key: period.key });
      return period !== undefined;
    }
  }
}
