// How one number of a map comes about: products of a convolution, the largest of a pool, the terms of other steps.

import { frame, latest } from "./api.js";
import { el, failed, number } from "./dom.js";
import { t } from "./i18n.js";
import { figures, largest, signed } from "./paint.js";
import { asked } from "./session.js";
import { edits, view } from "./state.js";

const CHANNELS = 10;
const FORMULAS = { batch_norm: "input × scale + shift", relu: "max(0, input)", relu6: "min(max(0, input), 6)", add: "a + b", multiply: "a × b", same: "=" };
const NAMES = { input: "input", scale: "scale", shift: "shift" };
let place = null, chosen = null, shown = null;

const total = (values) => values.reduce((sum, one) => sum + one, 0);
const canvas = (label) => el("canvas", { role: "img", "aria-label": label });

function picture(values, height, width, high, options = {}) {
  const label = [...values].slice(0, 64).map((one) => number(one, 3)).join(", ");
  const node = canvas(label);
  figures(node, values, height, width, high, { write: (value) => number(value, 3), ...options });
  return node;
}

function mini(values, height, width, high) {
  const node = el("canvas", { "aria-hidden": "true", class: "mini" });
  signed(node, values, height, width, high);
  return node;
}

/** From the sum, through what follows it, to what the framework computed. */
function check(found) {
  const rows = [["bias", t("bias")], ["sum", t({ max: "largest", mean: "mean" }[found.operation] ?? "total")], ["result", t("then", { functions: (found.then ?? []).join(", ") })], ["value", t("computed")]];
  const known = rows.filter(([key]) => found[key] !== undefined && found[key] !== null && (key !== "result" || found.then?.length));
  return el("table", { class: "numbers" }, el("tbody", {}, ...known.map(([key, name]) => line(name, number(found[key], 6), key)),
    found.deviation === undefined ? null : line(t("deviation"), number(found.deviation, 2), "deviation")));
}

const line = (name, text, key = "") => el("tr", {}, el("th", { scope: "row", text: name }), el("td", { text, data: key ? { key } : {} }));

function convolution(found) {
  const [channels, height, width] = found.shapes.product, area = height * width;
  const [first] = found.channels ?? [0];
  const part = (values, c) => values.subarray(c * area, (c + 1) * area);
  const sums = Array.from({ length: channels }, (_, c) => total(part(found.product, c)));
  const order = sums.map((_, c) => c).sort((a, b) => Math.abs(sums[b]) - Math.abs(sums[a]));
  const some = order.slice(0, CHANNELS), rest = order.slice(CHANNELS);
  if (!some.includes(chosen)) [chosen] = some;
  const highs = ["patch", "weight", "product"].map((name) => largest(found[name]));
  const rows = some.map((c) => el("tr", { "aria-selected": String(c === chosen), class: c === chosen ? "chosen" : "" },
    el("th", { scope: "row" }, el("button", { type: "button", class: "plain", text: String(c + first), "aria-pressed": String(c === chosen), on: { click: () => { chosen = c; draw(); } } })),
    ...["patch", "weight", "product"].map((name, k) => el("td", {}, mini(part(found[name], c), height, width, highs[k]))),
    el("td", { text: number(sums[c], 4) })));
  if (rest.length) {
    rows.push(el("tr", {}, el("th", { scope: "row", text: t("restOf", { count: rest.length }) }), el("td"), el("td"), el("td"), el("td", { text: number(total(rest.map((c) => sums[c])), 4) })));
  }
  const large = el("div", { class: "equation" }, ...["patch", "weight", "product"].flatMap((name, k) => [
    k ? el("span", { class: "sign", text: "×="[k - 1], "aria-hidden": "true" }) : null,
    el("figure", {}, picture(part(found[name], chosen), height, width, highs[k]), el("figcaption", { text: t(["values", "times", "products"][k]).replace(/^[×=] /, "") })),
  ]).filter(Boolean));
  return [el("p", { class: "soft", text: found.from ? t("sumConvolution", { layer: found.from }) : t("sumBefore") }),
    el("p", {}, el("strong", { text: `${t("channel")} ${chosen + first}` })), large,
    el("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": t("sum") }, el("table", { class: "numbers sums" }, el("thead", {}, el("tr", {}, ...["channel", "values", "times", "products", "share"].map((key) => el("th", { scope: "col", text: t(key) })))), el("tbody", {}, ...rows))),
    check(found)];
}

function pool(found) {
  const [height, width] = found.shapes.patch.slice(-2);
  let best = null;
  if (found.operation === "max") found.patch.forEach((value, k) => { if (found.inside[k] && (best === null || value > found.patch[best])) best = k; });
  const at = best === null ? null : [Math.floor(best / width), best % width];
  return [el("p", { class: "soft", text: t(found.operation === "max" ? "sumMax" : "sumMean") }),
    picture(found.patch, height, width, largest(found.patch), { diverging: false, mark: at }), check(found)];
}

/** Steps whose parts are a few numbers: a sum of branches, a batch norm, an activation function. */
function terms(found) {
  const parts = (found.terms ?? []).map((one) => [one.from ? t("fromLayer", { layer: one.from }) : t("term"), one.value]);
  const known = ["input", "scale", "shift", "mean", "variance", "epsilon", "gamma", "beta"].filter((key) => found[key] !== undefined && found[key] !== null);
  const rows = [...parts, ...known.map((key) => [key in NAMES ? t(NAMES[key]) : key, found[key]])].map(([name, value]) => line(name, number(value, 6)));
  const from = found.from && found.from !== "null" ? ` ${t("fromLayer", { layer: found.from })}${found.channel === undefined ? "" : ` # ${found.channel}`}` : "";
  return [el("p", { class: "soft", text: found.text ?? `${FORMULAS[found.operation] ?? found.operation.replaceAll("_", " ")}${from}` }),
    rows.length ? el("table", { class: "numbers" }, el("tbody", {}, ...rows)) : null, check(found)].filter(Boolean);
}

function draw() {
  if (!shown) return;
  const kinds = { max: pool, mean: pool };
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
