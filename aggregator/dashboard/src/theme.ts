/** The colour scheme: the system's, unless the person chose one. Kept in this browser only. */
export type Theme = "auto" | "light" | "dark";

const KEY = "wakeline.theme";

/** The one that the address asks for, as a page does that embeds this one, else the one chosen before. */
export function storedTheme(): Theme {
  const asked = new URLSearchParams(location.search).get("theme");
  if (asked === "light" || asked === "dark") return asked;
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "auto";
  } catch {
    return "auto"; // storage is forbidden: the system decides
  }
}

export function applyTheme(theme: Theme): void {
  const root = document.documentElement;
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
}

export function storeTheme(theme: Theme): void {
  try {
    if (theme === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // It holds for this page, then.
  }
  applyTheme(theme);
}
