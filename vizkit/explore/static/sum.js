// How one number of a map comes about: products of a convolution, the largest of a pool, the terms of other steps.

import { frame, latest } from "./api.js";
import { el, failed, number } from "./dom.js";
import { t } from "./i18n.js";
import { figures, largest, signed } from "./paint.js";
import { asked } from "./session.js";
import { edits, view } from "./state.js";

const CHANNELS = 10;
let place = null, chosen = null, shown = null;

const total = (values) => values.reduce((sum, one) => sum + one, 0);
const canvas = (label) => el("canvas", { role: "img", "aria-label": label });

function picture(values, height, width, high, options = {}) {
  const label = [...values].slice(0, 64).map((one) => number(one, 3)).join(", ");
  const node = canvas(label);
  figures(node, values, height, width, high, { write: (value) => number(value, 2), ...options });
  return node;
}

function mini(values, height, width, high) {
  const node = el("canvas", { "aria-hidden": "true", class: "mini" });
  signed(node, values, height, width, high);
  return node;
}

function check(found) {
  return el("table", { class: "numbers" }, el("tbody", {},
    found.bias === undefined || found.bias === null ? null : line(t("bias"), number(found.bias, 6), "bias"),
    found.sum === undefined || found.sum === null ? null : line(t("total"), number(found.sum, 6), "sum"),
    line(t("computed"), number(found.value, 6), "value"), line(t("deviation", { value: "" }).trim(), number(found.deviation, 2), "deviation")));
}

const line = (name, text, key = "") => el("tr", {}, el("th", { scope: "row", text: name }), el("td", { text, data: key ? { key } : {} }));

function convolution(found) {
  const [channels, height, width] = found.shapes.product, area = height * width;
  const part = (values, c) => values.subarray(c * area, (c + 1) * area);
  const sums = Array.from({ length: channels }, (_, c) => total(part(found.product, c)));
  const order = sums.map((_, c) => c).sort((a, b) => Math.abs(sums[b]) - Math.abs(sums[a]));
  const some = order.slice(0, CHANNELS), rest = order.slice(CHANNELS);
  if (!some.includes(chosen)) [chosen] = some;
  const highs = ["patch", "weight", "product"].map((name) => largest(found[name]));
  const rows = some.map((c) => el("tr", { "aria-selected": String(c === chosen), class: c === chosen ? "chosen" : "" },
    el("th", { scope: "row" }, el("button", { type: "button", class: "plain", text: String(c), "aria-pressed": String(c === chosen), on: { click: () => { chosen = c; draw(); } } })),
    ...["patch", "weight", "product"].map((name, k) => el("td", {}, mini(part(found[name], c), height, width, highs[k]))),
    el("td", { text: number(sums[c], 4) })));
  if (rest.length) {
    rows.push(el("tr", {}, el("th", { scope: "row", text: t("restOf", { count: rest.length }) }), el("td"), el("td"), el("td"), el("td", { text: number(total(rest.map((c) => sums[c])), 4) })));
  }
  const large = el("div", { class: "equation" }, ...["patch", "weight", "product"].flatMap((name, k) => [
    k ? el("span", { class: "sign", text: "×="[k - 1], "aria-hidden": "true" }) : null,
    el("figure", {}, picture(part(found[name], chosen), height, width, highs[k]), el("figcaption", { text: t(["values", "times", "products"][k]).replace(/^[×=] /, "") })),
  ]).filter(Boolean));
  return [el("p", { class: "soft", text: `${t("sumConvolution")} ${found.from ? t("fromLayer", { layer: found.from }) : ""}` }),
    el("p", {}, el("strong", { text: `${t("channel")} ${chosen}` })), large,
    el("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": t("sum") }, el("table", { class: "numbers sums" }, el("thead", {}, el("tr", {}, ...["channel", "values", "times", "products", "share"].map((key) => el("th", { scope: "col", text: t(key) })))), el("tbody", {}, ...rows))),
    check(found)];
}

function pool(found) {
  const [height, width] = found.shapes.patch.slice(-2);
  const at = found.operation === "max" && found.at ? found.at : null;
  return [el("p", { class: "soft", text: t(found.operation === "max" ? "sumMax" : "sumMean") }),
    picture(found.patch, height, width, largest(found.patch), { diverging: false, mark: at }), check(found)];
}

function terms(found) {
  const rows = (found.terms ?? []).map((one) => line(one.name, number(one.value, 6)));
  return [found.text ? el("p", { class: "soft", text: found.text }) : null,
    rows.length ? el("table", { class: "numbers" }, el("caption", { text: found.operation }), el("tbody", {}, ...rows)) : null,
    found.value === undefined ? null : check(found)].filter(Boolean);
}

function draw() {
  if (!shown) return;
  const kinds = { convolution, max: pool, mean: pool };
  place.replaceChildren(...(shown.product ? convolution : kinds[shown.operation] ?? terms)(shown));
}

/** Where the sum is shown. */
export function sumAt(node) { place = node; shown = null; }

/** The sum of the value at a place of the view's map. */
export async function showSum(y, x) {
  const signal = latest("sum");
  try {
    const found = await frame("sum", asked({ unit: view.unit, y, x, edits: edits() }), signal);
    if (signal.aborted) return;
    shown = found;
    place.dataset.at = `${y},${x}`;
    draw();
  } catch (error) {
    if (!signal.aborted) failed(place, error);
  }
}
