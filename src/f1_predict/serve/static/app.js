// The page's state: which race, which lap, which driver. Forecasts come as a stream, lap after lap, and are kept.
(() => {
  "use strict";
  const F1 = window.F1;
  const { html, svg, byId, percent, whole, person, moment, get, address, EVENTS } = F1;
  const COLOURS = 8, WORTH = 0.1, SETTLED_MS = 220;

  const page = {
    model: null, races: [], race: null, lap: 0, driver: null, event: null,
    forecasts: new Map(), moments: new Map(), events: [], colours: new Map(),
    shown: null, stream: null, timer: null, settling: null, asked: null, drawing: false,
  };
  const chart = F1.chart(byId("chart"), (lap) => goTo(lap));
  const field = F1.field(byId("field"), (driver) => pick(driver));

  // ---- problems ----
  function problem(error) {
    if (error && error.name === "AbortError") return;
    const box = byId("problem");
    box.hidden = !error;
    box.textContent = error ? error.message : "";
  }

  // ---- choosing a race ----
  function options(select, items, value) {
    select.replaceChildren(...items.map(([key, text]) => html("option", { value: key, text, selected: String(key) === String(value) })));
  }

  function offerRaces(season, chosen) {
    options(byId("season"), [...new Set(page.races.map((race) => race.season))].reverse().map((one) => [one, one]), season);
    const races = page.races.filter((race) => race.season === Number(season));
    options(byId("race"), races.map((race) => [race.race_id, `${race.round}. ${race.name}`]), chosen || races[0].race_id);
    return byId("race").value;
  }

  async function choose(raceId, lap, driver) {
    pause();
    stopStream();
    if (page.asked) page.asked.abort();
    page.asked = new AbortController();
    const race = page.races.find((one) => one.race_id === raceId);
    Object.assign(page, {
      race, lap: Math.min(lap === undefined ? Math.floor(race.laps / 2) : lap, race.laps), driver: null, wanted: driver,
      forecasts: new Map(), moments: new Map(), events: [], colours: new Map(), shown: null,
    });
    problem(null);
    offerRaces(race.season, raceId);
    forget(race);
    byId("title").textContent = `${race.season} ${race.name}`;
    const laps = race.laps ? `${race.laps} of ${race.scheduled_laps} laps run` : `${race.scheduled_laps} laps scheduled, none run yet`;
    byId("scope").textContent = `${new Date(`${race.date}T12:00:00Z`).toLocaleDateString("en-GB", { dateStyle: "long", timeZone: "UTC" })} · ${person(race.circuit_id)} · ${race.starters} starters · ${laps}`;
    document.title = `${race.season} ${race.name}: f1-predict`;
    const slider = byId("lap");
    slider.max = race.laps;
    slider.disabled = byId("play").disabled = race.laps === 0;
    document.body.classList.toggle("waiting", true);
    try {
      page.events = (await get(address(raceId, "events"), { signal: page.asked.signal })).events;
      if (page.race !== race) return;
      goTo(page.lap, true);
      if (race.laps) startStream();
    } catch (error) {
      if (page.race === race) problem(error);
    }
  }

  /** Nothing of the race before stays on the page. */
  function forget(race) {
    field.clear();
    page.lines = [];
    chart.draw({ scheduled: race.scheduled_laps, last: race.laps, lines: [], events: [] });
    for (const id of ["headline", "field-moment", "lap-text", "picture-text", "status"]) byId(id).textContent = "";
    for (const id of ["legend", "missing", "driver", "driver-facts", "places", "explanation", "known", "numbers-table"]) byId(id).replaceChildren();
    byId("picture").hidden = byId("explain").disabled = byId("explain-of").disabled = true;
    F1.reliability.show(0, null);
    for (const name of ["settled", "lap", "race"]) delete document.body.dataset[name];
  }

  function stopStream() {
    if (page.stream) page.stream.close();
    page.stream = null;
    byId("progress").textContent = "";
    delete document.body.dataset.streaming;
  }

  function startStream() {
    const race = page.race;
    const stream = page.stream = new EventSource(address(race.race_id, "replay"));
    document.body.dataset.streaming = race.race_id;
    stream.addEventListener("forecast", (event) => {
      take(race, JSON.parse(event.data));
      byId("progress").textContent = page.forecasts.size <= race.laps ? `${page.forecasts.size} of ${race.laps + 1} forecasts made` : "";
    });
    stream.addEventListener("end", stopStream);
    stream.onerror = () => {
      if (stream.readyState === EventSource.CLOSED || page.stream !== stream) {
        stopStream();
        problem(new Error("The replay broke off; laps that are missing are forecast when you go to them."));
      }
    };
  }

  function take(race, forecast) {
    if (page.race !== race) return;
    const lap = forecast.moment.cutoff_lap;
    const news = !page.forecasts.has(lap);
    page.forecasts.set(lap, forecast);
    if (news) redraw();
    if (lap === page.lap && (!page.shown || page.shown !== forecast)) show();
  }

  // ---- the lap ----
  async function goTo(lap, force) {
    if (lap === page.lap && !force) return;
    page.lap = lap;
    const race = page.race;
    byId("lap").value = lap;
    byId("lap").setAttribute("aria-valuetext", lap ? `lap ${lap} of ${race.scheduled_laps}` : "before the race");
    byId("lap").style.setProperty("--done", race.laps ? lap / race.laps : 0);
    byId("lap-text").textContent = lap ? `Lap ${lap} of ${race.scheduled_laps}` : "Before the race";
    chart.move(lap, page.driver, byId("later").checked);
    if (page.forecasts.has(lap)) return show();
    document.body.classList.add("waiting");
    try {
      const forecast = await get(address(race.race_id, "forecast", { lap }), { signal: page.asked.signal });
      take(race, forecast);
    } catch (error) {
      if (page.race === race) problem(error);
    }
  }

  function show() {
    const { race, lap } = page, forecast = page.forecasts.get(lap);
    document.body.classList.remove("waiting");
    document.body.dataset.lap = lap;
    document.body.dataset.race = race.race_id;
    if (!page.event) offerEvents(forecast);
    const before = page.shown && page.shown.race.race_id === race.race_id ? page.shown : null;
    page.before = new Map(before ? before.field.map((row) => [row.driver_id, row.predicted_rank]) : []);
    page.shown = forecast;
    if (!page.driver) {
      const names = forecast.field.map((row) => row.driver_id);
      page.driver = names.includes(page.wanted) ? page.wanted : names[0];
      byId("explain").disabled = byId("explain-of").disabled = false;
      options(byId("driver"), [...names].sort().map((id) => [id, person(id)]), page.driver);
    }
    byId("headline").textContent = headline(forecast);
    byId("field-moment").textContent = moment(lap, race.scheduled_laps);
    byId("missing").replaceChildren(...forecast.notes.map((text) => html("li", { text })));
    render();
    if (byId("numbers").open) numbers();
    legend(forecast);
    clearTimeout(page.settling);
    page.settling = setTimeout(settle, SETTLED_MS);
    tellMoment();
  }

  function render() {
    const told = page.moments.get(page.lap);
    const cars = new Map(told ? told.cars.map((car) => [car.driver_id, car]) : []);
    field.show(page.shown.field, page.before, cars, page.driver);
    if (told) F1.known(told, page.shown, page.model.missing);
    F1.driver.show(picked());
    const place = `${page.race.race_id}/${page.lap}/${page.driver}`;
    if (place !== page.place) F1.driver.forget(); // an explanation stays as long as it is of what is shown
    page.place = place;
    F1.reliability.show(page.lap / page.race.scheduled_laps, picked());
    chart.move(page.lap, page.driver, byId("later").checked);
  }

  async function tellMoment() {
    const { race, lap } = page;
    if (!page.moments.has(lap)) {
      try {
        const told = await get(address(race.race_id, "moment", { lap }), { signal: page.asked.signal });
        if (page.race !== race) return;
        page.moments.set(lap, told);
      } catch (error) {
        if (page.race === race) problem(error);
        return;
      }
      if (page.lap === lap && page.shown === page.forecasts.get(lap)) { page.before = new Map(); render(); }
    }
  }

  /** What is slow or would be too much to hear, once the reader stays at a lap. */
  function settle() {
    if (!isShown()) return; // another lap or race was chosen meanwhile: show() comes back to it
    const { race, lap } = page;
    if (page.timer === null || lap % 10 === 0) byId("status").textContent = `${page.timer === null ? byId("field-moment").textContent + ": " : `Lap ${lap}: `}${byId("headline").textContent}`;
    if (page.timer === null) F1.driver.picture(race.race_id, picked(), lap, race.scheduled_laps, page.model.picture);
    history.replaceState(null, "", `#${new URLSearchParams({ race: race.race_id, lap, driver: page.driver })}`);
    document.body.dataset.settled = `${race.race_id}/${lap}/${page.driver}`;
  }

  function headline(forecast) {
    const name = forecast.field.every((row) => row.p_win !== null) ? "p_win" : "p_finish";
    const best = [...forecast.field].sort((a, b) => b[name] - a[name]).slice(0, 3);
    const chances = best.map((row) => `${person(row.driver_id)} ${whole(row[name])}`).join(", ");
    return name === "p_win" ? `To win: ${chances}.` : `Likeliest to finish: ${chances}.`;
  }

  // ---- the chart ----
  function offerEvents(forecast) {
    const known = Object.keys(EVENTS).filter((name) => forecast.field.every((row) => row[name] !== null));
    const places = forecast.field.every((row) => row.expected_position !== null) ? ["expected_position"] : [];
    options(byId("explain-of"), [...places, ...known].map((name) => [name, F1.driver.CHANCES[name]]));
    page.event = known[0];
    byId("event").append(...known.map((name) => html("label", {},
      html("input", { type: "radio", name: "event", value: name, checked: name === page.event, onchange: () => { page.event = name; redraw(); if (page.shown) legend(page.shown); } }),
      html("span", { text: EVENTS[name] }))));
  }

  /** Colours go to those whose chance was ever worth one, in the order of laps, and stay with them. */
  function colour(forecast) {
    const name = forecast.field.every((row) => row.p_win !== null) ? "p_win" : "p_finish";
    const ordered = [...forecast.field].sort((a, b) => b[name] - a[name]);
    ordered.forEach((row, place) => {
      const worth = place < 3 || row[name] > WORTH;
      if (worth && page.colours.size < COLOURS && !page.colours.has(row.driver_id)) page.colours.set(row.driver_id, page.colours.size);
    });
  }

  function redraw() {
    if (page.drawing) return;
    page.drawing = true;
    requestAnimationFrame(() => {
      page.drawing = false;
      const laps = [...page.forecasts.keys()].sort((a, b) => a - b);
      if (!laps.length) return;
      if (!page.event) offerEvents(page.forecasts.get(laps[0]));
      page.colours = new Map();
      for (const lap of laps) colour(page.forecasts.get(lap));
      const lines = new Map();
      for (const lap of laps) {
        for (const row of page.forecasts.get(lap).field) {
          if (!lines.has(row.driver_id)) lines.set(row.driver_id, { driver: row.driver_id, colour: page.colours.get(row.driver_id) ?? null, values: new Map() });
          lines.get(row.driver_id).values.set(lap, row[page.event]);
        }
      }
      page.lines = [...lines.values()];
      chart.draw({ scheduled: page.race.scheduled_laps, last: page.race.laps, lines: page.lines, events: page.events });
      if (page.shown) legend(page.shown);
      if (byId("numbers").open) numbers();
    });
  }

  function legend(forecast) {
    const rows = new Map(forecast.field.map((row) => [row.driver_id, row]));
    byId("legend").replaceChildren(...[...page.colours].filter(([id]) => rows.has(id)).map(([id, number]) =>
      html("li", {}, html("button", { type: "button", class: `chip c${number}`, "aria-pressed": String(id === page.driver), onclick: () => pick(id) },
        svg("svg", { width: 22, height: 10, "aria-hidden": "true" }, svg("line", { x1: 1, x2: 21, y1: 5, y2: 5, class: `line c${number}` })),
        html("span", { text: person(id) }), html("b", { text: whole(rows.get(id)[page.event]) })))));
  }

  function numbers() {
    const hide = byId("later").checked;
    const laps = [...page.forecasts.keys()].filter((lap) => !hide || lap <= page.lap).sort((a, b) => a - b);
    const lines = [...(page.lines || [])].sort((a, b) => (b.values.get(page.lap) || 0) - (a.values.get(page.lap) || 0));
    byId("numbers-table").replaceChildren(
      html("caption", { text: `${EVENTS[page.event]}, per cent, after laps of the leader` }),
      html("thead", {}, html("tr", {}, html("th", { scope: "col", text: "Driver" }), ...laps.map((lap) => html("th", { scope: "col", text: lap || "start" })))),
      html("tbody", {}, ...lines.map((line) => html("tr", {}, html("th", { scope: "row", text: person(line.driver) }), ...laps.map((lap) => html("td", { text: line.values.has(lap) ? (100 * line.values.get(lap)).toFixed(1) : "" }))))),
    );
  }

  // ---- the driver ----
  const isShown = () => page.shown !== null && page.shown === page.forecasts.get(page.lap);
  const picked = () => page.shown.field.find((row) => row.driver_id === page.driver);

  function pick(driver) {
    if (!page.shown) return;
    page.driver = driver;
    byId("driver").value = driver;
    page.before = new Map();
    render();
    legend(page.shown);
    settle();
  }

  async function explain() {
    const { race, lap, driver } = page, button = byId("explain"), of = byId("explain-of").value;
    if (!page.shown) return;
    button.disabled = true;
    byId("explanation").replaceChildren(html("p", { class: "muted", text: "The forecast is made again with parts of it hidden." }));
    try {
      await F1.driver.explain(race.race_id, picked(), lap, race.scheduled_laps, of, page.asked.signal);
      if (page.race !== race || page.lap !== lap || page.driver !== driver) F1.driver.forget();
    } catch (error) {
      F1.driver.forget();
      problem(error);
    } finally {
      button.disabled = !page.shown;
    }
  }

  // ---- playing ----
  function pause() {
    if (page.timer === null) return;
    clearTimeout(page.timer);
    page.timer = null;
    tellPlay();
    settle();
  }

  function tellPlay() {
    const playing = page.timer !== null;
    byId("play").setAttribute("aria-pressed", String(playing));
    byId("play").querySelector("span").textContent = playing ? "Pause" : "Play";
    document.body.classList.toggle("playing", playing);
  }

  function step() {
    page.timer = setTimeout(step, 1000 / Number(byId("speed").value));
    if (!isShown()) return; // the forecast of this lap is still being made
    if (page.lap >= page.race.laps) return pause();
    goTo(page.lap + 1);
  }

  function play() {
    if (page.timer !== null) return pause();
    if (!page.race || !page.race.laps) return;
    if (page.lap >= page.race.laps) goTo(0);
    page.timer = setTimeout(step, 1000 / Number(byId("speed").value));
    tellPlay();
  }

  function keys(event) {
    const { target } = event;
    if (event.altKey || event.ctrlKey || event.metaKey || /^(INPUT|SELECT)$/.test(target.tagName) || target.closest(".scroll")) return;
    if (event.key === " " && !/^(BUTTON|SUMMARY|A)$/.test(target.tagName)) { event.preventDefault(); play(); }
    if (event.key === "ArrowRight" && page.race) { pause(); goTo(Math.min(page.lap + 1, page.race.laps)); }
    if (event.key === "ArrowLeft" && page.race) { pause(); goTo(Math.max(page.lap - 1, 0)); }
  }

  // ---- begin ----
  function fromAddress() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const race = page.races.find((one) => one.race_id === asked.get("race"));
    const lap = /^\d{1,3}$/.test(asked.get("lap") || "") ? Number(asked.get("lap")) : undefined;
    return race ? [race.race_id, lap, asked.get("driver")] : null;
  }

  async function begin() {
    byId("season").addEventListener("change", (event) => choose(offerRaces(event.target.value)));
    byId("race").addEventListener("change", (event) => choose(event.target.value));
    byId("lap").addEventListener("input", (event) => { pause(); goTo(Number(event.target.value)); });
    byId("play").addEventListener("click", play);
    byId("later").addEventListener("change", () => { chart.move(page.lap, page.driver, byId("later").checked); if (byId("numbers").open) numbers(); });
    byId("driver").addEventListener("change", (event) => pick(event.target.value));
    byId("explain").addEventListener("click", explain);
    byId("numbers").addEventListener("toggle", () => { if (byId("numbers").open) numbers(); });
    document.addEventListener("keydown", keys);
    window.addEventListener("hashchange", () => {
      const asked = fromAddress();
      if (asked && asked.join() !== [page.race.race_id, page.lap, page.driver].join()) choose(...asked);
    });
    try {
      const [model, races] = await Promise.all([get("/api/model"), get("/api/races")]);
      page.model = model;
      page.races = races.races;
      if (!page.races.length) throw new Error("The store has no races.");
      const learnt = model.seasons.length ? `learnt from ${model.seasons[0]} to ${model.seasons[model.seasons.length - 1]}` : "of unknown seasons";
      byId("model").textContent = `Model ${model.name}, ${learnt}, backbone ${model.backbone}.`;
      const run = [...page.races].reverse();
      const first = run.find((race) => race.laps && race.starters) || run.find((race) => race.starters) || run[0];
      if (model.reliability) get("/api/reliability").then((record) => F1.reliability.begin(record, model.name), problem);
      else F1.reliability.begin(null, model.name);
      await choose(...(fromAddress() || [first.race_id]));
    } catch (error) {
      problem(error);
    }
  }
  begin();
})();
