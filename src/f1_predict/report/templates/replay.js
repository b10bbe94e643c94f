// Draws the replay's chart; the select picks one driver out of it. Loads nothing.
(() => {
  const replay = JSON.parse(document.getElementById("replay-data").textContent);
  const place = document.getElementById("plot");
  const select = document.getElementById("driver");

  // One driver in front of all others, or everybody as drawn.
  function picked(traces, driver) {
    if (!driver) return traces;
    const others = traces.filter((trace) => trace.legendgroup !== driver).map((trace) => ({ ...trace, opacity: 0.25 }));
    const own = traces.filter((trace) => trace.legendgroup === driver).map((trace) => {
      if (trace.mode !== "lines") return trace;
      return { ...trace, line: { ...trace.line, width: 3.4, dash: "solid", color: trace.line.color === replay.faint ? replay.ink : trace.line.color } };
    });
    return [...others, ...own];
  }

  function draw() {
    const figure = structuredClone(replay.figure);
    figure.data = picked(figure.data, select.value);
    if (place.clientWidth < 560) {
      figure.layout.font.size = 11;
      for (const trace of figure.data) {
        if (trace.mode === "markers") trace.marker.size *= 0.8;
        else trace.line.width *= 0.85;
      }
    }
    figures.plot(place, figure);
  }

  select.addEventListener("change", draw);
  figures.start(replay.dark, draw);
})();
