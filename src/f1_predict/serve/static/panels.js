// What stands below the chart: one driver, what is known, how reliable forecasts have been.
(() => {
  "use strict";
  const F1 = window.F1;
  const { html, svg, byId, percent, whole, person, moment, get, address, EVENTS } = F1;
  const list = (items) => html("ul", {}, ...items.map((text) => html("li", { text })));

  /** Chances of all places as bars; those of the 80 % range are full, the others faint. */
  function places(row) {
    const high = 96, most = Math.max(...row.position_probs), count = row.position_probs.length;
    const bars = row.position_probs.map((chance, index) => {
      const inside = index + 1 >= row.position_low && index + 1 <= row.position_high;
      const tall = Math.max((chance / most) * (high - 22), chance > 0 ? 0.75 : 0);
      return svg("g", {},
        svg("rect", { x: index * 20 + 2, width: 16, y: high - 16 - tall, height: tall, rx: 2, class: inside ? "inside" : "outside" }),
        svg("text", { x: index * 20 + 10, y: high - 3, "text-anchor": "middle", text: index + 1 }),
        svg("title", { text: `place ${index + 1}: ${percent(chance)}` }));
    });
    const best = row.position_probs.indexOf(most) + 1;
    return svg("svg", {
      viewBox: `0 0 ${Math.max(count, 20) * 20} ${high}`, class: "places", role: "img",
      "aria-label": `Likeliest is place ${best} with ${percent(most)}; 80 % of the chance lies on places ${row.position_low} to ${row.position_high}.`,
    }, ...bars);
  }

  /** What a forecast says, in words. */
  const CHANCES = {
    expected_position: "expected place", p_win: "chance to win", p_podium: "chance of a podium", p_points: "chance of points",
    p_finish: "chance of being classified",
  };

  F1.driver = {
    CHANCES,

    /** Facts and places of one driver at a moment. */
    show(row) {
      const facts = Object.entries(EVENTS).filter(([name]) => row[name] !== null).map(([name, text]) => [text, percent(row[name])]);
      if (row.expected_position !== null) {
        facts.push(["Expected place", row.expected_position.toFixed(1)], ["80 % range", `${row.position_low}–${row.position_high}`]);
      }
      byId("driver-facts").replaceChildren(...facts.map(([term, value]) => html("div", {}, html("dt", { text: term }), html("dd", { text: value }))));
      const shown = row.position_probs !== null;
      byId("places").replaceChildren(shown ? places(row) : "");
      byId("places").previousElementSibling.hidden = !shown;
    },

    /** The picture that the model saw, plain. */
    picture(race, row, lap, scheduled, lanes) {
      const image = byId("picture"), text = byId("picture-text");
      image.hidden = !row.has_image;
      if (!row.has_image) {
        text.textContent = "The model saw no picture of this driver: there is no lap to draw yet.";
        return;
      }
      image.src = address(race, "picture", { driver: row.driver_id, lap });
      image.alt = `What the model saw of ${person(row.driver_id)} ${moment(lap, scheduled)}: ${lanes}`;
      text.textContent = `What the model saw of ${person(row.driver_id)} ${moment(lap, scheduled)}. From top to bottom: ${lanes}`;
    },

    forget() { byId("explanation").replaceChildren(); },

    /** Why: what hiding picture or table changes, what in the table and which laps mattered; the picture lit up. */
    async explain(race, row, lap, scheduled, of, signal) {
      const found = await get(address(race, "explanation", { driver: row.driver_id, lap, of }), { signal });
      if (found.has_picture) {
        byId("picture").src = address(race, "picture", { driver: row.driver_id, lap, of, heat: "true" });
        byId("picture").alt = `The picture of ${person(row.driver_id)} ${moment(lap, scheduled)}; what mattered to the forecast is red.`;
        byId("picture-text").textContent = "The same picture: the redder, the more it mattered to this forecast. The bar on the right is the scale.";
      }
      const places = found.target === "expected_position";
      const better = (change) => (places ? change < 0 : change > 0);
      const amount = (value) => (places ? value.toFixed(1) : percent(value));
      const by = (value) => (places ? `${Math.abs(value).toFixed(2)} ${better(value) ? "forward" : "back"}` : `${value < 0 ? "−" : "+"}${percent(Math.abs(value))}`);
      const most = Math.max(...found.features.map((one) => Math.abs(one.attribution)), 1e-12);
      const shares = Object.entries(found.shares).map(([name, share]) => html("li", {},
        html("span", { text: person(name) }), meter(share, "share"), html("span", { class: "number", text: whole(share) })));
      const rows = found.features.slice(0, 8).map((one) => html("tr", {},
        html("th", { scope: "row", text: one.label }),
        html("td", { class: "value", text: one.value === null ? "not known" : `${Number(one.value.toFixed(2))} ${one.unit || ""}`.trim() }),
        html("td", {}, html("span", { class: "number", text: by(one.attribution) }), meter(Math.abs(one.attribution) / most, better(one.attribution) ? "up" : "down"))));
      const what = CHANCES[found.target];
      byId("explanation").replaceChildren(
        html("p", { class: "said", text: `The network alone says of ${person(row.driver_id)}: ${what} ${amount(found.value)}. Without the picture ${amount(found.without.picture)}, without the table ${amount(found.without.table)}.` }),
        html("h3", { text: "Picture or table: whose hiding moves more" }), html("ul", { class: "shares" }, ...shares),
        html("h3", { text: `In the table: what moves the ${what}${places ? ", in places" : ""}` }),
        html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What in the table mattered" }, html("table", { class: "features" },
          html("thead", {}, html("tr", {}, ...["What", "Value", "Moves it"].map((text) => html("th", { scope: "col", text })))),
          html("tbody", {}, ...rows))),
        ...(found.laps.length ? [html("h3", { text: "In the picture: what each lap adds, seen by blanking it" }), laps(found.laps, better)] : []),
        html("ul", { class: "notes" }, ...found.notes.map((text) => html("li", { text }))),
      );
    },
  };

  function meter(share, kind) {
    const bar = html("i", { class: `fill ${kind}` });
    bar.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
    return html("span", { class: "trough", "aria-hidden": "true" }, bar);
  }

  /** A bar a lap. The last one stands for all that came before it too, and would dwarf the others: its bar may be cut. */
  function laps(rows, better) {
    const high = 84, room = 32, middle = 36;
    const last = Math.max(...rows.map((one) => one.lap));
    const others = rows.filter((one) => one.lap !== last);
    const most = Math.max(...(others.length ? others : rows).map((one) => Math.abs(one.change)), 1e-12);
    const [first, second, third] = [...rows].sort((a, b) => Math.abs(b.change) - Math.abs(a.change));
    const bars = rows.map((one) => {
      const times = Math.abs(one.change) / most, up = better(one.change);
      const tall = Math.max(Math.min(times, 1) * room, 0.5), left = (one.lap - 1) * 10 + 1;
      const cut = up ? middle - room + 5 : middle + room - 5;
      return svg("g", {},
        svg("rect", { x: left, width: 8, y: up ? middle - tall : middle, height: tall, class: up ? "up" : "down" }),
        ...(times > 1 ? [svg("path", { d: `M${left - 1} ${cut}h10`, class: "cut" })] : []),
        svg("title", { text: times > 1 ? `lap ${one.lap}, ${times.toFixed(1)} times as much as shown` : `lap ${one.lap}` }));
    });
    const ticks = [1, ...[10, 20, 30, 40, 50, 60, 70].filter((lap) => lap <= last)];
    const beyond = Math.abs(rows.find((one) => one.lap === last).change) / most;
    return html("div", {}, svg("svg", {
      viewBox: `0 0 ${last * 10} ${high}`, class: "lap-bars", role: "img",
      "aria-label": `Bars upwards help him, downwards cost him. The laps that mattered most: ${[first, second, third].filter(Boolean).map((one) => one.lap).join(", ")}.`,
    }, svg("line", { x1: 0, x2: last * 10, y1: middle, y2: middle }), ...bars,
    ...ticks.map((lap) => svg("text", { x: (lap - 0.5) * 10, y: high - 3, "text-anchor": "middle", text: lap }))),
    ...(beyond > 1 ? [html("p", { class: "muted", text: `The bar of lap ${last} is cut: where the lines end counts ${beyond.toFixed(1)} times as much as the next lap.` })] : []));
  }

  F1.known = (told, forecast, words) => {
    const lacking = forecast.field.filter((row) => row.missing.length)
      .map((row) => `${person(row.driver_id)}: ${row.missing.map((code) => words[code] || code).join(", ")}`);
    const parts = [["Known", told.known, "yes"], ["Not known yet", told.to_come, "no"], ["Not in the store", [...told.lacking, ...lacking], "gap"]];
    byId("known").replaceChildren(...parts.filter(([, items]) => items.length).map(([title, items, kind]) =>
      html("div", { class: `known ${kind}` }, html("h3", { text: title }), list(items))));
  };

  // ---- how reliable ----
  const state = { record: null, served: null, model: null, event: "win", at: 0, row: null, open: false };
  const NEAR = 0.1;

  function nearest(model, share) {
    return model.moments.reduce((best, one) => (Math.abs(one.fraction - share) < Math.abs(best.fraction - share) ? one : best));
  }

  function curve(bins) {
    const size = 260, pad = 34, span = size - pad - 10;
    const x = (chance) => pad + span * chance, y = (chance) => 10 + span * (1 - chance);
    const most = Math.max(...bins.map((bin) => bin.rows));
    const grid = [0, 0.5, 1].flatMap((value) => [
      svg("line", { x1: x(0), x2: x(1), y1: y(value), y2: y(value) }),
      svg("text", { x: pad - 5, y: y(value) + 4, "text-anchor": "end", text: `${100 * value}%` }),
      svg("text", { x: x(value), y: size - 8, "text-anchor": value === 1 ? "end" : "middle", text: `${100 * value}%` }),
    ]);
    const dots = bins.map((bin) => svg("circle", { cx: x(bin.mean_probability), cy: y(bin.frequency), r: 3 + 6 * Math.sqrt(bin.rows / most) },
      svg("title", { text: `said ${percent(bin.mean_probability)}, happened in ${percent(bin.frequency)} of ${bin.rows}` })));
    return svg("svg", { viewBox: `0 0 ${size} ${size}`, class: "curve", role: "img", "aria-label": "How often it happened (upwards) against how likely it was said to be (to the right); the table has the numbers." },
      svg("g", { class: "grid" }, ...grid), svg("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }), ...dots);
  }

  const choice = (id, text, options, value, change) => {
    const select = html("select", { id, onchange: () => change(select.value) }, ...options.map(([key, name]) => html("option", { value: key, text: name, selected: key === value })));
    return html("div", { class: "pick" }, html("label", { for: id, text }), select);
  };
  const when = (fraction) => (fraction ? `after ${Math.round(100 * fraction)} % of the race` : "before the race");

  function render() {
    const box = byId("reliability"), focus = document.activeElement && document.activeElement.id;
    if (!state.record) {
      box.replaceChildren(html("p", { class: "muted", text: "No backtest was given to this server, so nothing can be said of that. Start it with --predictions predictions.parquet, the file that f1-predict backtest writes." }));
      return;
    }
    const record = state.record, model = record.models.find((one) => one.name === state.model);
    const found = nearest(model, state.at);
    const events = Object.keys(found.events);
    const event = events.includes(state.event) ? state.event : events[0];
    const bins = found.events[event];
    const verb = { win: "won", podium: "came among the first three", points: "came among the first ten", finish: "were classified" }[event];
    const score = found.scores;
    const chance = state.row && state.row[`p_${event}`];
    const like = closest(bins, chance);
    const given = like && `${person(state.row.driver_id)} is given ${percent(chance)} here. `;
    const near = like && Math.abs(like.mean_probability - chance) <= NEAR;
    box.replaceChildren(
      html("div", { class: "choices" },
        choice("reliability-model", "Model", record.models.map((one) => [one.name, one.name]), model.name, (value) => { state.model = value; render(); }),
        choice("reliability-event", "Event", events.map((one) => [one, EVENTS[`p_${one}`]]), event, (value) => { state.event = value; render(); })),
      html("div", { class: "record" }, curve(bins), html("div", {},
        html("p", { text: `${model.name} (${model.about}) forecast ${record.races} races of ${record.seasons[0] === record.seasons[1] ? record.seasons[0] : record.seasons.join("–")}, each from earlier seasons only. Nearest moment to this lap: ${when(found.fraction)}.${model.name === state.served ? "" : ` It is not the model of this page, ${state.served}.`}` }),
        near && html("p", { class: "said", text: `${given}When forecasts said about that (${percent(like.mean_probability)} on average), ${whole(like.frequency)} of ${like.rows} drivers ${verb}.` }),
        like && !near && html("p", { class: "said", text: `${given}No group of those forecasts is near that: the nearest said ${percent(like.mean_probability)} on average.` }),
        html("p", { class: "muted", text: `Off by ${score.mae.value.toFixed(2)} places on average (95 % interval ${score.mae.low.toFixed(2)} to ${score.mae.high.toFixed(2)}); exactly right ${percent(score.accuracy.value)} of the time; log-loss ${score.log_loss.value.toFixed(3)}.` }))),
      html("details", { open: state.open, ontoggle: (event) => { state.open = event.target.open; } }, html("summary", { id: "reliability-table", text: "The curve as a table" }), html("div", { class: "scroll" }, html("table", {},
        html("thead", {}, html("tr", {}, ...["Said", "Happened", "Forecasts"].map((text) => html("th", { scope: "col", text })))),
        html("tbody", {}, ...bins.map((bin) => html("tr", {}, html("th", { scope: "row", text: percent(bin.mean_probability) }), html("td", { text: percent(bin.frequency) }), html("td", { text: bin.rows }))))))),
    );
    if (focus && byId(focus) && box.contains(byId(focus))) byId(focus).focus();
  }

  function closest(bins, chance) {
    if (chance === null || chance === undefined || !bins.length) return null;
    return bins.reduce((best, bin) => (Math.abs(bin.mean_probability - chance) < Math.abs(best.mean_probability - chance) ? bin : best));
  }

  F1.reliability = {
    begin(record, served) { Object.assign(state, { record, served, model: record && record.shown }); render(); },
    show(share, row) { state.at = share; state.row = row; if (state.record) render(); },
  };
})();
