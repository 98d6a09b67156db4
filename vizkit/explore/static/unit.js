// One unit: its map, what a pixel of it sees, how its number comes about, its weights, patches and dreams.

import { exported, frame, latest } from "./api.js";
import { backends } from "./controls.js";
import { announce, button, byId, debounce, el, failed, number } from "./dom.js";
import { change, isOff, toggleOff } from "./edits.js";
import { language, t } from "./i18n.js";
import { mapView } from "./mapview.js";
import { fieldOf, onPhoto } from "./field.js";
import { sequential } from "./paint.js";
import { photo } from "./picture.js";
import { asked, backend, beside, layerOf } from "./session.js";
import { edits, onChange, set, view } from "./state.js";
import { showSum, sumAt } from "./sum.js";
import { startJobs, stopJobs } from "./unitjobs.js";
import { showWeights } from "./weights.js";

let place = null, shownFor = "", waiting = false, said = "", at = null;

const one = (id) => place.querySelector(`[data-part=${id}]`);
const part = (id, title, ...children) => el("section", { class: "card", "aria-label": title }, el("h3", { text: title }), ...children, el("div", { data: { part: id } }));

function step(by) {
  const last = layerOf(view.layer).units - 1;
  const unit = Math.min(Math.max(view.unit + by, 0), last);
  set({ unit, y: undefined, x: undefined });
}

function head(layer) {
  const off = isOff(layer.name, view.unit);
  const input = el("input", { type: "number", min: "0", max: String(layer.units - 1), value: String(view.unit), "aria-label": t("unitNumber"),
    on: { change: (event) => { const unit = Number(event.target.value); if (Number.isInteger(unit)) { view.unit = -1; set({ unit: Math.min(Math.max(unit, 0), layer.units - 1), y: undefined, x: undefined }, true); } } } });
  return el("div", { class: "head" },
    el("h2", {}, button(layer.name, () => set({ tab: "layer" }, true), { class: "plain" }), el("span", { class: "soft", text: " #" }), String(view.unit)),
    el("div", { class: "row" }, button("‹", () => step(-1), { "aria-label": t("previousUnit"), title: `${t("previousUnit")} [` }), input,
      button("›", () => step(1), { "aria-label": t("nextUnit"), title: `${t("nextUnit")} ]` }),
      ...(exported ? [] : [button(t(off ? "switchOn" : "switchOff"), () => toggleOff(layer.name, view.unit), { "aria-pressed": String(off), data: { part: "off" } }),
        button(t("strengthen"), () => change(layer.name, view.unit, "add", 1))]), ...backends()));
}

/** The map of the picture's chosen pixel, or of its strongest. */
function start(map, width) {
  const [height] = [map.length / width];
  if (view.y < height && view.x < width && view.y >= 0 && view.x >= 0) return [view.y, view.x];
  let best = 0;
  map.forEach((value, k) => { if (value > map[best]) best = k; });
  return [Math.floor(best / width), best % width];
}

/** All that the unit's cards depend on. */
const keyOf = () => JSON.stringify([view.picture, view.layer, view.unit, backend(), beside(), edits(), language()]);

async function load() {
  const layer = layerOf(view.layer), key = keyOf();
  if (key === shownFor) return moved();
  shownFor = key;
  stopJobs();
  if (!layer?.maps || view.unit === undefined || !(view.unit >= 0 && view.unit < layer.units)) {
    place.replaceChildren(el("p", { class: "hint", text: layer?.maps && view.unit !== undefined ? t("noSuchUnit", { layer: layer.name, last: layer.units - 1 }) : t("chooseUnit") }));
    return null;
  }
  const signal = latest("unit");
  waiting = true;
  try {
    const [found, pixels] = await Promise.all([frame("map", asked({ unit: view.unit, edits: edits(), other: beside() }), signal), photo(view.picture)]);
    if (signal.aborted) return null;
    waiting = false;
    return show(layer, found, pixels);
  } catch (error) {
    if (signal.aborted) return null;
    waiting = false;
    shownFor = "";
    return failed(place, error);
  }
}

function maps(found, height, width, look) {
  const label = t("mapLabel", { unit: view.unit, height, width });
  const views = [["map", backend()], ...(found.other ? [["other", beside()]] : [])].map(([name, title]) => {
    const shown = mapView({ name: `pixels-${name}`, height, width, label: `${label}, ${title}`, move: look.move, pin: look.pin,
      draw: (canvas) => sequential(canvas, found[name], height, width, found.low, found.high) });
    return { ...shown, title };
  });
  const captions = el("p", { class: "soft small", text: t("mapFacts", { low: number(found.low), high: number(found.high), mean: number(found.mean) })
    + (found.other ? ` · ${t("differs", { value: number(found.difference, 2) })}` : "") });
  const node = el("div", { class: "side maps-large" }, ...views.map((shown) => el("figure", {}, found.other ? el("figcaption", { text: shown.title }) : null, shown.node)));
  return { views, parts: [node, captions, el("output", { class: "value", data: { part: "value" } })] };
}

function show(layer, found, pixels) {
  const [height, width] = found.shapes.map;
  // The address may name something else by the time that a pause is over.
  const mine = shownFor, current = () => keyOf() === mine;
  at = start(found.map, width);
  const say = (y, x) => { one("value").textContent = t("pixel", { y, x, value: number(found.map[y * width + x], 6) }); };
  const spoken = debounce(() => announce(one("value").textContent), 300);
  const later = debounce((y, x) => { if (current()) showSum(y, x); }, 90);
  const look = {
    move: (y, x) => { say(y, x); later(y, x); over.see(y, x); for (const shown of large.views) if (!shown.node.matches(":hover")) shown.point(y, x); },
    pin: (y, x) => { at = [y, x]; look.move(y, x); spoken(); set({ y, x }); },
  };
  const large = maps(found, height, width, look);
  const over = onPhoto({ photo: pixels, map: found.map, height, width, current });
  const focus = document.activeElement?.closest?.("#view-unit") ? document.activeElement.dataset.part ?? document.activeElement.getAttribute("aria-label") : null;
  place.replaceChildren(head(layer), el("div", { class: "cards" },
    el("div", { class: "column" }, part("mapcard", t("map"), ...large.parts), part("sum", t("sum")), part("patches", t("patches"))),
    el("div", { class: "column" }, part("overcard", t("onPicture"), ...over.parts), part("weights", t("weights")), exported ? null : part("dream", t("dream")))));
  const name = `${layer.name} # ${view.unit}`;
  if (name !== said) announce(name);
  said = name;
  sumAt(one("sum"));
  startJobs(one("patches"), one("dream"));
  for (const shown of large.views) shown.point(...at);
  say(...at);
  showSum(...at);
  fieldOf(at, over);
  showWeights(one("weights"));
  if (focus) [...place.querySelectorAll("button, input, select, [tabindex]")].find((node) => focus === (node.dataset.part ?? node.getAttribute("aria-label")))?.focus();
  moved.now = (y, x) => { for (const shown of large.views) shown.point(y, x); look.move(y, x); fieldOf([y, x], over); };
  return null;
}

/** What is still waited for would come for a view that the address does not name any more. */
function leave() {
  stopJobs();
  if (waiting) { latest("unit"); shownFor = ""; }
}

/** The address names another pixel of the same map. */
function moved() {
  if (view.y === undefined || !moved.now) return;
  moved.now(view.y, view.x);
}

export function startUnit() {
  place = byId("view-unit");
  const needed = () => { if (view.tab === "unit") load(); };
  needed();
  onChange((changed) => {
    if (changed.has("tab") && view.tab !== "unit") return leave();
    if (["picture", "layer", "unit", "b", "other", "edits", "lang", "tab"].some((name) => changed.has(name))) needed();
    else if ((changed.has("y") || changed.has("x")) && view.tab === "unit") moved();
  });
  document.addEventListener("keydown", (event) => {
    if (view.tab !== "unit" || view.unit === undefined || event.target.closest("input, select, textarea, dialog[open]")) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "[") step(-1);
    else if (event.key === "]") step(1);
    else if (event.key === "x") toggleOff(view.layer, view.unit);
  });
}
