// Dark or light: the reader's choice if one was made, else the system's. Runs before the page is drawn.
(() => {
  "use strict";
  const KEY = "f1-predict-theme";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const choose = (theme) => { document.documentElement.dataset.theme = theme; };
  const shown = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  const chosen = stored();
  if (chosen === "dark" || chosen === "light") choose(chosen);
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const tell = () => button.setAttribute("aria-pressed", String(shown() === "dark"));
    button.addEventListener("click", () => {
      choose(shown() === "dark" ? "light" : "dark");
      try { localStorage.setItem(KEY, shown()); } catch { /* the choice lasts as long as the page */ }
      tell();
    });
    dark.addEventListener("change", tell);
    tell();
  });
})();
