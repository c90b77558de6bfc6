// What one browser remembers: light or dark, and whether single keys are shortcuts. Nothing else, and nothing leaves the browser.

const read = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
const write = (name, value) => { try { if (value === null) localStorage.removeItem(name); else localStorage.setItem(name, value); } catch { /* then for this page only */ } };

const systemDark = matchMedia("(prefers-color-scheme: dark)");

/** Whether the page is dark now. */
export const dark = () => (document.documentElement.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";

export function setDark(on) {
  const theme = on ? "dark" : "light";
  document.documentElement.dataset.theme = theme;
  write("breakeven-theme", on === systemDark.matches ? null : theme);
}

export const shortcuts = () => read("breakeven-shortcuts") !== "off";
export const setShortcuts = (on) => write("breakeven-shortcuts", on ? null : "off");
