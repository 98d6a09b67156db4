// The feature maps of a layer: facts, order, and the other backend beside.

import { frame, latest } from "./api.js";
import { backends, choice } from "./controls.js";
import { announce, byId, el, failed, number } from "./dom.js";
import { toggleOff } from "./edits.js";
import { MapGrid } from "./grid.js";
import { language, t } from "./i18n.js";
import { asked, backend, beside, layerOf } from "./session.js";
import { edits, onChange, set, view } from "./state.js";

const COUNT = 64, SIZE = 64;
let grid = null, place = null, shownFor = "", said = "";

function facts(layer) {
  const values = { units: layer.units, kind: layer.kind, height: layer.places[0], width: layer.places[1] };
  return t(layer.maps ? "layerFacts" : "layerFlat", values);
}

function head(layer) {
  return el("div", { class: "head" }, el("div", {}, el("h2", { text: layer.name }), el("p", { class: "soft", text: facts(layer) })),
    el("div", { class: "row" }, choice(t("sort"), [["strength", t("byStrength")], ["number", t("byNumber")]], view.sort, (sort) => set({ sort })), ...backends()));
}

function load() {
  const layer = layerOf(view.layer);
  const key = JSON.stringify([view.picture, view.layer, view.sort, backend(), beside(), edits(), language()]);
  if (key === shownFor && grid) return grid.mark(view.unit);
  shownFor = key;
  if (!layer || !layer.maps) {
    grid = null;
    place.replaceChildren(el("p", { class: "hint", text: layer ? t("noMaps", { layer: layer.name }) : t("chooseLayer") }));
    return null;
  }
  const signal = latest("maps");
  const other = beside(), made = edits();
  const ask = (from) => frame("maps", asked({ edits: made, other, from, count: COUNT, sort: view.sort, size: SIZE }), signal);
  const off = new Set(view.edits.filter((one) => one.layer === layer.name && one.mode === "off").map((one) => one.unit));
  const labels = {
    grid: t("gridLabel", { layer: layer.name }),
    unit: (unit, strength) => t("unitLabel", { unit, strength: number(strength, 3) }) + (off.has(unit) ? `, ${t("unitOff")}` : ""),
    difference: (value) => t("difference", { value: number(value, 2) }),
  };
  const next = new MapGrid({ layer, ask, count: COUNT, labels, off, double: Boolean(other), open: (unit) => set({ unit, y: undefined, x: undefined, tab: "unit" }, true), toggle: (unit) => toggleOff(layer.name, unit) });
  const before = grid;
  grid = next;
  // What is shown stays until the first maps of the new view are there, so that nothing flickers.
  if (!before) place.replaceChildren(el("p", { class: "hint", text: t("loading") }));
  next.begin().then(() => {
    if (signal.aborted) return;
    before?.observer.disconnect();
    const words = el("p", { class: "soft small", text: other ? t("beside", { b: backend(), other }) : t("eachScale") });
    const active = place.contains(document.activeElement) && document.activeElement.tagName === "SELECT";
    const which = active ? [...place.querySelectorAll("select")].indexOf(document.activeElement) : -1;
    const scrolled = before && before.layer === layer && before.sorted === view.sort ? before.scroller.scrollTop : 0;
    next.sorted = view.sort;
    place.replaceChildren(head(layer), words, next.scroller);
    next.settle();
    next.scroller.scrollTop = scrolled;
    next.mark(view.unit);
    if (which >= 0) place.querySelectorAll("select")[which]?.focus();
    if (said !== layer.name) announce(`${layer.name}: ${facts(layer)}`);
    said = layer.name;
  }).catch((error) => {
    if (error.name === "AbortError") return;
    grid = null;
    shownFor = "";
    failed(place, error);
  });
  return null;
}

export function startLayer() {
  place = byId("view-layer");
  const needed = () => { if (view.tab === "layer") load(); };
  needed();
  onChange((changed) => {
    if (["picture", "layer", "b", "other", "edits", "sort", "lang", "tab", "unit"].some((name) => changed.has(name))) needed();
  });
}

