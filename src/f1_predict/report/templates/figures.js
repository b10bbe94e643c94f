// What all pages' figures share: drawn in light colours, swapped on a dark screen, light again on paper. Loads nothing.
"use strict";
const figures = (() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = { displayModeBar: false, responsive: true };
  let partners = {};
  let printing = false;

  // Figures come in light colours; on a dark screen each is replaced by its partner.
  function coloured(value) {
    if (printing || !dark.matches) return value;
    if (typeof value === "string") return partners[value] ?? value;
    if (Array.isArray(value)) return value.map(coloured);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, coloured(part)]));
    return value;
  }

  // The height is the element's: Plotly would forget that of a layout when the window changes.
  function plot(place, figure) {
    const shown = coloured(figure);
    const { height, ...layout } = structuredClone(shown.layout);
    place.style.height = `${height}px`;
    if (printing) layout.width = place.clientWidth;
    Plotly.react(place, shown.data, layout, config);
  }

  // Draws now, and again whenever the colours or the paper change.
  function start(colours, draw) {
    partners = colours;
    function drawAll() {
      draw();
      document.documentElement.dataset.theme = dark.matches && !printing ? "dark" : "light";
    }
    // Charts have the width that they were drawn at: on paper, that of the paper.
    function print(now) {
      printing = now;
      document.documentElement.classList.toggle("paper", now);
      drawAll();
    }
    dark.addEventListener("change", drawAll);
    window.addEventListener("beforeprint", () => print(true));
    window.addEventListener("afterprint", () => print(false));
    drawAll();
    document.documentElement.dataset.ready = "yes";
  }

  return { plot, start };
})();
