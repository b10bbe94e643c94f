// Elements, numbers as text, requests: what all parts of the page use. No markup is ever made from text.
window.F1 = (() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "text") element.textContent = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }
  const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const byId = (id) => document.getElementById(id);

  /** A chance with one decimal; what is neither 0 nor 1 is not shown as if it were. */
  function percent(chance) {
    if (chance > 0 && chance < 0.0005) return "<0.1%";
    if (chance >= 0.9995 && chance < 1) return ">99.9%";
    return `${(100 * chance).toFixed(1)}%`;
  }
  const whole = (chance) => (chance > 0 && chance < 0.005 ? "<1\u00a0%" : chance < 1 && chance >= 0.995 ? ">99\u00a0%" : `${(100 * chance).toFixed(0)}\u00a0%`);
  const person = (id) => id.split("_").map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(" ");
  const family = (id) => person(id).split(" ").pop();
  const moment = (lap, scheduled) => (lap ? `after lap ${lap} of ${scheduled}` : "before the race");

  /** The JSON of an address; whatever goes wrong becomes an Error with one clear message. */
  async function get(address, options) {
    let response;
    try {
      response = await fetch(address, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer. Is f1-predict serve still running?");
    }
    const told = await response.json().catch(() => null);
    if (response.ok && told !== null) return told;
    throw new Error(told && told.error ? told.error.message : `The server answered with status ${response.status}.`);
  }
  const address = (race, what, query) => {
    const given = Object.entries(query || {}).filter(([, value]) => value !== null && value !== 0 && value !== undefined);
    const text = new URLSearchParams(given).toString();
    return `/api/races/${encodeURIComponent(race)}/${what}${text ? `?${text}` : ""}`;
  };
  const still = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const EVENTS = { p_win: "Win", p_podium: "Podium", p_points: "Points", p_finish: "Finish" };
  return { html, svg, byId, percent, whole, person, family, moment, get, address, still, EVENTS };
})();
