// Light or dark, before the first paint: what was chosen in this browser, else what the system says. A classic script, for modules come too late.
try {
  const chosen = localStorage.getItem("breakeven-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* a browser that keeps nothing follows the system */ }
