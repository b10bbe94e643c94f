// The chances of all drivers by lap: drawn once when forecasts come, moved when the lap changes.
(() => {
  "use strict";
  const { html, svg, percent, family } = window.F1;
  const SHORT = { red_flag: "red", safety_car: "SC", virtual_safety_car: "VSC", slow_field: "slow" };
  const LEFT = 38, RIGHT = 12, TOP = 18, BOTTOM = 28;

  /**
   * A chart in `box`. `onLap(lap)` is called when the reader points at a lap and presses.
   * `draw(data)`: data of {scheduled, last, event, lines: [{driver, colour, values: Map lap -> chance}], events}.
   * `move(lap, picked, hideLater)`: where the reader is.
   */
  window.F1.chart = (box, onLap) => {
    const tip = html("div", { class: "tip", hidden: true });
    let data = null, place = { lap: 0, picked: null, hide: false }, parts = null;

    const height = () => (box.clientWidth < 520 ? 240 : 330);
    const x = (lap) => LEFT + ((box.clientWidth - LEFT - RIGHT) * lap) / Math.max(data.scheduled, data.last, 1);
    const y = (chance) => TOP + (height() - TOP - BOTTOM) * (1 - chance);

    function path(values) {
      let text = "", before = null;
      for (const lap of [...values.keys()].sort((a, b) => a - b)) {
        const chance = values.get(lap);
        if (chance === null) continue;
        text += `${before === null ? "M" : "L"}${x(lap).toFixed(1)} ${y(chance).toFixed(1)}`;
        before = lap;
      }
      return text;
    }

    function marks(line) {
      const made = [];
      for (const event of data.events) {
        if (event.driver_id !== line.driver || !line.values.has(event.lap)) continue;
        const [cx, cy] = [x(event.lap), y(line.values.get(event.lap))];
        const shape = event.kind === "stop"
          ? `M${cx - 4.5} ${cy - 4}h9l-4.5 8z`
          : `M${cx - 4} ${cy - 4}l8 8m0 -8l-8 8`;
        made.push(svg("path", { d: shape, class: `mark ${event.kind} c${line.colour}` }));
      }
      return made;
    }

    function draw(given) {
      data = given;
      if (!box.clientWidth) return;
      const [wide, high] = [box.clientWidth, height()];
      const grid = svg("g", { class: "grid" });
      for (const value of [0, 0.25, 0.5, 0.75, 1]) {
        grid.append(
          svg("line", { x1: LEFT, x2: wide - RIGHT, y1: y(value), y2: y(value) }),
          svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end", text: `${100 * value}%` }),
        );
      }
      const step = [1, 2, 5, 10, 20, 25, 50].find((one) => (wide - LEFT) / (data.scheduled / one) >= 44) || 100;
      for (let lap = 0; lap <= data.scheduled; lap += step) {
        grid.append(svg("text", { x: x(lap), y: high - 9, "text-anchor": lap ? "middle" : "start", text: lap ? lap : "start" }));
      }
      const bands = svg("g", { class: "bands" });
      let free = -Infinity;
      for (const event of data.events.filter((one) => one.kind in SHORT)) {
        const [from, to] = [x(event.lap - 1), x(event.until)];
        bands.append(svg("rect", { x: from, width: Math.max(to - from, 2), y: TOP, height: high - TOP - BOTTOM, class: event.kind }));
        if (from > free) {
          bands.append(svg("text", { x: from, y: TOP - 5, text: SHORT[event.kind] }));
          free = from + 32;
        }
      }
      const lines = svg("g", { id: "chart-lines" });
      const ordered = [...data.lines].sort((a, b) => (a.colour === null ? -1 : a.colour) - (b.colour === null ? -1 : b.colour));
      for (const line of ordered.filter((one) => one.colour === null)) {
        lines.append(svg("path", { d: path(line.values), class: "line other", "data-driver": line.driver }));
      }
      for (const line of ordered.filter((one) => one.colour !== null).reverse()) {
        lines.append(svg("path", { d: path(line.values), class: `line c${line.colour}`, "data-driver": line.driver }), ...marks(line));
      }
      const past = svg("rect", { x: 0, y: 0, width: 0, height: high });
      const later = svg("rect", { x: 0, y: 0, width: wide, height: high });
      const now = svg("line", { class: "now", y1: TOP, y2: high - BOTTOM });
      const bandsPast = svg("g", { "clip-path": "url(#clip-past)" }, bands);
      const bandsLater = svg("g", { "clip-path": "url(#clip-later)", class: "later" }, bands.cloneNode(true));
      const linesLater = svg("g", { "clip-path": "url(#clip-later)", class: "later" }, svg("use", { href: "#chart-lines" }));
      const picture = svg(
        "svg",
        { width: wide, height: high, viewBox: `0 0 ${wide} ${high}`, "aria-hidden": "true", focusable: "false" },
        svg("defs", {}, svg("clipPath", { id: "clip-past" }, past), svg("clipPath", { id: "clip-later" }, later), lines),
        bandsLater, bandsPast, grid, linesLater,
        svg("g", { "clip-path": "url(#clip-past)" }, svg("use", { href: "#chart-lines" })),
        now,
      );
      box.replaceChildren(picture, tip);
      parts = { past, later, now, lines, faint: [bandsLater, linesLater] };
      move(place.lap, place.picked, place.hide);
    }

    function move(lap, picked, hide) {
      place = { lap, picked, hide };
      if (!parts) return;
      const at = x(lap);
      parts.past.setAttribute("width", at + 0.5);
      parts.later.setAttribute("x", at + 0.5);
      parts.now.setAttribute("x1", at);
      parts.now.setAttribute("x2", at);
      for (const one of parts.faint) one.toggleAttribute("hidden", hide);
      for (const one of parts.lines.querySelectorAll(".line")) one.classList.toggle("picked", one.dataset.driver === picked);
    }

    const lapAt = (event) => {
      const share = (event.clientX - box.getBoundingClientRect().left - LEFT) / (box.clientWidth - LEFT - RIGHT);
      return Math.min(Math.max(Math.round(share * Math.max(data.scheduled, data.last, 1)), 0), data.last);
    };

    function show(event) {
      if (!data || !data.last) return;
      const lap = lapAt(event);
      const known = data.lines.filter((line) => line.values.has(lap) && !(place.hide && lap > place.lap));
      tip.hidden = known.length === 0;
      if (tip.hidden) return;
      const best = known.sort((a, b) => b.values.get(lap) - a.values.get(lap)).slice(0, 5);
      tip.replaceChildren(
        html("strong", { text: lap ? `Lap ${lap}` : "Before the race" }),
        ...best.map((line) => html("span", { class: line.colour === null ? "other" : `c${line.colour}`, text: `${family(line.driver)} ${percent(line.values.get(lap))}` })),
      );
      const at = x(lap);
      tip.style.left = `${at > box.clientWidth / 2 ? at - tip.offsetWidth - 12 : at + 12}px`;
    }

    box.addEventListener("pointermove", (event) => {
      show(event);
      if (event.buttons === 1 && data && data.last) onLap(lapAt(event));
    });
    box.addEventListener("pointerdown", (event) => { if (event.button === 0 && data && data.last) onLap(lapAt(event)); });
    box.addEventListener("pointerleave", () => { tip.hidden = true; });
    new ResizeObserver(() => { if (data) draw(data); }).observe(box);
    return { draw, move };
  };
})();
