// The field as a table of bars. Rows are kept and move to their new places, so that the eye can follow a car.
(() => {
  "use strict";
  const { html, percent, person, still, EVENTS } = window.F1;
  const TEXT = { rank: "#", driver: "Driver", now: "Now", expected: "Place", range: "80 %" };
  const LONG = {
    rank: "Rank by expected place", driver: "Driver", now: "Place on the road", expected: "Expected place",
    range: "Places with 80 % of the chance", p_win: "Chance to win", p_podium: "Chance of the first three places",
    p_points: "Chance of the first ten places", p_finish: "Chance of being classified",
  };

  /** A table in `table`; `onPick(driver)` when a name is pressed. `show(rows, before, cars, picked)` renders a lap. */
  window.F1.field = (table, onPick) => {
    const body = html("tbody");
    const kept = new Map();
    let columns = [], sort = "rank", last = null;

    function head(rows) {
      const events = Object.keys(EVENTS).filter((name) => rows.every((row) => row[name] !== null));
      const places = rows.every((row) => row.expected_position !== null);
      const wanted = ["rank", "driver", "now", ...events, ...(places ? ["expected", "range"] : [])];
      if (wanted.join() === columns.join()) return;
      columns = wanted;
      kept.clear();
      if (!columns.includes(sort)) sort = "rank";
      table.classList.toggle("of-places", places);
      const cells = columns.map((name) => {
        const text = EVENTS[name] || TEXT[name];
        const button = html("button", { type: "button", text, title: `${LONG[name]}: sort by it`, "aria-label": LONG[name], onclick: () => { sort = name; render(); } });
        const plain = name === "driver" || name === "range";
        return html("th", { scope: "col", class: `k-${name}`, "data-column": name }, plain ? html("span", { text, title: LONG[name] }) : button);
      });
      table.replaceChildren(
        html("caption", { class: "hidden", text: "The field's forecast at this lap; heads sort the table." }),
        html("thead", {}, html("tr", {}, ...cells)), body,
      );
    }

    function rowOf(id) {
      if (kept.has(id)) return kept.get(id);
      const cells = {};
      const row = html("tr", { "data-driver": id });
      for (const name of columns) {
        if (name === "driver") {
          cells.team = html("span", { class: "team" });
          cells.pick = html("button", { type: "button", class: "name", text: person(id), onclick: () => onPick(id) });
          row.append(html("th", { scope: "row", class: "k-driver" }, cells.pick, cells.team));
        } else if (name in EVENTS) {
          cells[name] = html("span", { class: "number" });
          cells[`${name}-bar`] = html("i", { class: `fill ${name}` });
          row.append(html("td", { class: `k-${name}`, "data-column": name }, cells[name], html("span", { class: "trough", "aria-hidden": "true" }, cells[`${name}-bar`])));
        } else {
          cells[name] = html("td", { class: `k-${name}`, "data-column": name });
          row.append(cells[name]);
        }
      }
      kept.set(id, { row, cells });
      return kept.get(id);
    }

    function write(row, before, car, picked) {
      const { row: element, cells } = rowOf(row.driver_id);
      element.classList.toggle("picked", row.driver_id === picked);
      element.classList.toggle("stopped", Boolean(car && car.stopped));
      cells.pick.setAttribute("aria-pressed", String(row.driver_id === picked));
      cells.team.textContent = person(row.constructor_id);
      const gained = before && row.predicted_rank !== null ? before - row.predicted_rank : 0;
      cells.rank.replaceChildren(
        String(row.predicted_rank === null ? "" : row.predicted_rank),
        gained ? html("span", { class: gained > 0 ? "up" : "down" },
          html("span", { "aria-hidden": "true", text: gained > 0 ? `▲${gained}` : `▼${-gained}` }),
          html("span", { class: "hidden", text: gained > 0 ? ` up ${gained}` : ` down ${-gained}` })) : "",
      );
      cells.now.textContent = !car ? "" : car.stopped ? "out" : String(car.place);
      for (const name of columns.filter((one) => one in EVENTS)) {
        cells[name].textContent = percent(row[name]);
        cells[name].dataset.value = String(row[name]);
        cells[`${name}-bar`].style.width = `${100 * row[name]}%`;
      }
      if (cells.expected) {
        cells.expected.textContent = row.expected_position.toFixed(1);
        cells.range.textContent = `${row.position_low}–${row.position_high}`;
      }
    }

    const sorters = {
      rank: (row) => (row.predicted_rank === null ? -row.p_finish : row.predicted_rank),
      expected: (row) => row.expected_position,
      now: (row) => { const car = last.cars.get(row.driver_id); return car ? car.place : row.predicted_rank; },
    };

    function render() {
      if (!last) return;
      const { rows, before, cars, picked } = last;
      head(rows);
      for (const cell of table.querySelectorAll("thead th")) {
        if (cell.dataset.column === sort) cell.setAttribute("aria-sort", sort in EVENTS ? "descending" : "ascending");
        else cell.removeAttribute("aria-sort");
      }
      const key = sorters[sort] || ((row) => -row[sort]);
      const ordered = [...rows].sort((a, b) => key(a) - key(b) || a.driver_id.localeCompare(b.driver_id));
      const tops = new Map([...body.children].map((row) => [row.dataset.driver, row.offsetTop]));
      for (const row of rows) write(row, before.get(row.driver_id), cars.get(row.driver_id), picked);
      const wanted = ordered.map((row) => kept.get(row.driver_id).row);
      if (wanted.length !== body.children.length || wanted.some((row, place) => row !== body.children[place])) {
        const focus = document.activeElement;
        body.replaceChildren(...wanted);
        if (body.contains(focus)) focus.focus({ preventScroll: true });
      }
      if (still() || document.hidden) return;
      for (const row of wanted) {
        const moved = tops.has(row.dataset.driver) ? tops.get(row.dataset.driver) - row.offsetTop : 0;
        if (moved) row.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], { duration: 380, easing: "cubic-bezier(.2,.7,.2,1)" });
      }
    }

    return {
      show(rows, before, cars, picked) { last = { rows, before, cars, picked }; render(); },
      clear() { last = null; kept.clear(); columns = []; table.replaceChildren(); body.replaceChildren(); },
    };
  };
})();
