// One explanation over the picture, with its legend, its scores and the pointer that all of them share.

import { el, number } from "./dom.js";
import { family, t } from "./i18n.js";
import { blend, enlarge, limits } from "./paint.js";
import { view } from "./state.js";

function scores(found) {
  if (!found) return null;
  // The names of metrics and controls are vizkit's own: `random_map` is the random one.
  const plain = (name) => name.replace(/_map$/, "").replaceAll("_", " ");
  const names = [...new Set(Object.values(found).flatMap((one) => Object.keys(one.controls ?? {})))];
  const rows = Object.entries(found).map(([name, one]) => el("tr", {}, el("th", { scope: "row", text: plain(name) }), el("td", { text: number(one.value, 3), data: { score: name } }),
    ...names.map((control) => el("td", { text: number(one.controls?.[control], 3) }))));
  return el("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": t("scores") }, el("table", { class: "numbers" }, el("caption", { text: t("scores") }),
    el("thead", {}, el("tr", {}, el("th", { scope: "col", text: t("score") }), el("th", { scope: "col", text: t("value") }), ...names.map((name) => el("th", { scope: "col", text: plain(name) })))), el("tbody", {}, ...rows)));
}

/** A card; `draw()` follows opacity and threshold, `point(y, x)` shows the shared pointer, `link(y, x)` moves it. */
export function overlayCard(found, photo, { link, target }) {
  const [height, width] = found.shapes.map;
  const values = enlarge(found.map, height, width, photo.height, photo.width);
  const ends = limits(found.map, found.signed);
  const canvas = el("canvas", { role: "img", "aria-label": t("mapOf", { method: found.method, target }) });
  const across = el("span", { class: "hair across", hidden: true, "aria-hidden": "true" }), down = el("span", { class: "hair down", hidden: true, "aria-hidden": "true" });
  const value = el("output", { class: "small", "aria-live": "off" });
  const stage = el("div", { class: "stage" }, canvas, across, down);
  const draw = () => blend(canvas, photo, values, ends, found.signed, view.opacity, view.threshold);
  const point = (y, x) => {
    for (const one of [across, down]) one.hidden = y === null;
    if (y === null) { value.textContent = ""; return; }
    across.style.top = `${100 * y}%`;
    down.style.left = `${100 * x}%`;
    value.textContent = number(found.map[Math.min(Math.floor(y * height), height - 1) * width + Math.min(Math.floor(x * width), width - 1)], 4);
  };
  stage.addEventListener("pointermove", (event) => {
    const box = stage.getBoundingClientRect();
    link(Math.min(Math.max((event.clientY - box.top) / box.height, 0), 0.9999), Math.min(Math.max((event.clientX - box.left) / box.width, 0), 0.9999));
  });
  stage.addEventListener("pointerleave", () => link(null, null));
  draw();
  const node = el("figure", { class: "card overlay", data: { method: found.method } },
    el("figcaption", {}, el("strong", { text: found.method }), el("span", { class: "soft small", text: ` ${family(found.family).text} · ${t("seconds", { value: number(found.seconds, 2) })}` }), value),
    stage, el("p", { class: "soft small", text: t(found.signed ? "legendSigned" : "legend") }), scores(found.scores));
  return { node, draw, point };
}
