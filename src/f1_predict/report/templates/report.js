// Draws the figures from the data embedded above; choices of the selects swap them. Loads nothing.
(() => {
  const report = JSON.parse(document.getElementById("report-data").textContent);

  function select(id) { return document.getElementById(id); }

  // Text with names between backticks, as HTML would show it; never read as HTML.
  function write(place, text) {
    place.replaceChildren(...text.split("`").map((part, number) => {
      if (number % 2 === 0) return document.createTextNode(part);
      const code = document.createElement("code");
      code.textContent = part;
      return code;
    }));
  }

  function draw(figure) {
    const name = figure.dataset.figure;
    const key = [...document.querySelectorAll(`select[data-for="${name}"]`)].map((one) => one.value).join("|");
    const choice = report.figures[name][key];
    const caption = figure.querySelector("figcaption");
    const panels = figure.querySelectorAll(".panel");
    figure.dataset.choice = key;
    if (!choice) {
      caption.textContent = "Not drawn: this model has no forecast at this moment.";
      panels.forEach((panel) => { panel.hidden = true; });
      return;
    }
    write(caption, choice.caption);
    choice.panels.forEach((content, number) => {
      const panel = panels[number];
      const place = panel.querySelector(".plot");
      const note = panel.querySelector(".panel-note");
      panel.hidden = false;
      panel.querySelector(".panel-title").textContent = content.title;
      write(note, content.note);
      note.hidden = !content.note;
      place.hidden = !content.figure;
      if (content.figure) figures.plot(place, content.figure);
    });
  }

  const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
  function plain(text) { return text.replace(/[&<>]/g, (character) => escapes[character]); }

  function drawRace() {
    const race = report.heat.races[select("heat-race").value];
    const fraction = select("heat-fraction").value;
    const cut = race.cuts[fraction];
    const place = select("heat-plot");
    const body = document.querySelector("#heat-table tbody");
    body.replaceChildren();
    place.hidden = !cut;
    if (!cut) {
      select("heat-caption").textContent = "Not drawn: there is no forecast of this race at this moment.";
      return;
    }
    const rows = cut.rank.map((rank, row) => [rank, row]).sort((a, b) => a[0] - b[0]).map((pair) => pair[1]);
    const names = rows.map((row) => plain(race.drivers[row]));
    const figure = structuredClone(report.heat.figure);
    const [heat, halo, truth] = figure.data;
    heat.x = cut.p[0].map((_, index) => index + 1);
    heat.y = names;
    heat.z = rows.map((row) => cut.p[row].map((value) => value / 1000));
    heat.zmax = Math.max(...heat.z.flat());
    for (const ring of race.places ? [halo, truth] : []) {
      ring.x = rows.map((row) => race.places[row]);
      ring.y = names;
    }
    figure.layout.xaxis.range = [0.5, heat.x.length + 0.5];
    figure.layout.yaxis.range = [names.length - 0.5, -0.5];
    const narrow = place.clientWidth < 560;
    if (narrow) {
      heat.showscale = false;
      halo.marker.size = truth.marker.size = 8;
      halo.marker.line.width = 5;
      truth.marker.line.width = 2;
      figure.layout.xaxis.dtick = 4;
      figure.layout.font.size = 11;
    }
    figure.layout.height = 70 + 24 * rows.length;
    figures.plot(place, figure);
    write(select("heat-caption"), `${race.name}: ${cut.caption}`);
    const percent = (value) => `${(value / 10).toFixed(1)} %`;
    for (const row of rows) {
      const line = body.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = race.drivers[row];
      line.append(head);
      const cells = [cut.rank[row], cut.expected[row].toFixed(2), percent(cut.win[row]), percent(cut.podium[row]), percent(cut.points[row]), race.places ? race.places[row] : "-"];
      for (const text of cells) {
        const cell = line.insertCell();
        cell.className = "number";
        cell.textContent = text;
      }
    }
  }

  function drawAll() {
    document.querySelectorAll("[data-figure]").forEach(draw);
    drawRace();
  }

  document.querySelectorAll("select[data-for]").forEach((one) => {
    one.addEventListener("change", () => draw(document.querySelector(`[data-figure="${one.dataset.for}"]`)));
  });
  select("heat-race").addEventListener("change", drawRace);
  select("heat-fraction").addEventListener("change", drawRace);
  figures.start(report.dark, drawAll);
})();
