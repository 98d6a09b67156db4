// What a pixel of a map sees in the picture: the theoretical field as a frame, the effective one as a glow.

import { frame, json, latest } from "./api.js";
import { debounce, el, number } from "./dom.js";
import { t } from "./i18n.js";
import { blend, enlarge, limits, pixels } from "./paint.js";
import { asked } from "./session.js";
import { view } from "./state.js";

const MASS = 0.95;
let mode = "map";

/**
 * The picture with the map, plainly, or with what counts for the pixel. `see(y, x)` moves the frame by the stride, and
 * `field` and `effective` are set by what the server says about the pinned pixel, asked while this is the `current` view.
 */
export function onPhoto({ photo, map, height, width, current }) {
  const canvas = el("canvas", { role: "img", "aria-label": t("overlayLabel", { unit: view.unit }) });
  const box = el("span", { class: "field", hidden: true, "aria-hidden": "true" }), inner = el("span", { class: "field counts", hidden: true, "aria-hidden": "true" });
  const words = el("p", { class: "soft small" });
  const values = enlarge(map, height, width, photo.height, photo.width);
  const isSigned = map.some((value) => value < 0);
  const out = { field: null, effective: null, from: null, current };

  const put = (node, [top, left, bottom, right]) => {
    const y0 = Math.max(top, 0), x0 = Math.max(left, 0), y1 = Math.min(bottom, photo.height), x1 = Math.min(right, photo.width);
    node.hidden = y1 <= y0 || x1 <= x0;
    Object.assign(node.style, { left: `${100 * x0 / photo.width}%`, top: `${100 * y0 / photo.height}%`, width: `${100 * (x1 - x0) / photo.width}%`, height: `${100 * (y1 - y0) / photo.height}%` });
  };
  out.draw = () => {
    if (mode === "effective" && out.effective) blend(canvas, photo, out.effective, limits(out.effective, false), false, 0.9, 0);
    else if (mode === "map") blend(canvas, photo, values, limits(map, isSigned), isSigned, 0.8, 0);
    else pixels(canvas, photo.height, photo.width, (into) => into.set(new Uint32Array(photo.data.buffer)));
    inner.hidden = mode !== "effective" || !out.effective;
    if (!inner.hidden) put(inner, mass(out.effective, photo.height, photo.width));
  };
  out.see = (y, x) => {
    if (!out.field?.theoretical) return;
    const [top, left, bottom, right] = out.field.theoretical, [down, across] = [out.field.stride].flat().length > 1 ? out.field.stride : [out.field.stride, out.field.stride];
    const dy = (y - out.from[0]) * down, dx = (x - out.from[1]) * across;
    put(box, [top + dy, left + dx, bottom + dy, right + dx]);
  };
  out.say = () => {
    const parts = [];
    if (out.field?.theoretical) {
      const [top, left, bottom, right] = out.field.theoretical;
      parts.push(t(!out.field.known ? "fieldUnknown" : out.field.whole ? "fieldWhole" : "fieldFacts", { height: number(bottom - top), width: number(right - left), stride: [out.field.stride].flat().map((one) => number(one)).join(" × ") }));
    }
    if (mode === "effective" && out.effective) {
      const [top, left, bottom, right] = mass(out.effective, photo.height, photo.width);
      parts.push(t("effectiveFacts", { height: bottom - top, width: right - left }));
    }
    words.textContent = parts.join(" ");
  };
  const modes = el("div", { class: "row", role: "radiogroup", "aria-label": t("onPicture") }, ...[["map", "showMap"], ["field", "showField"], ["effective", "showEffective"]].map(([name, key]) => el("label", {},
    el("input", { type: "radio", name: "on-picture", value: name, checked: mode === name, on: { change: () => { mode = name; out.draw(); out.say(); out.ask?.(); } } }), ` ${t(key)}`)));
  out.draw();
  out.wantsEffective = () => mode === "effective";
  out.parts = [modes, el("div", { class: "stage" }, canvas, box, inner), words];
  return out;
}

/** The smallest frame around the largest values that hold 95 % of the sum. */
function mass(values, height, width) {
  const order = Float32Array.from(values).sort().reverse();
  const whole = order.reduce((sum, one) => sum + one, 0);
  let sum = 0, least = 0;
  for (const one of order) { sum += one; least = one; if (sum >= MASS * whole) break; }
  let [top, left, bottom, right] = [height, width, 0, 0];
  for (let k = 0; k < values.length; k++) {
    if (values[k] < least || values[k] <= 0) continue;
    const y = Math.floor(k / width), x = k % width;
    top = Math.min(top, y); bottom = Math.max(bottom, y + 1); left = Math.min(left, x); right = Math.max(right, x + 1);
  }
  return [top, left, bottom, right];
}

/** Asks what the pixel sees, and, where it is looked at, what counts. */
export const fieldOf = debounce(async ([y, x], over) => {
  if (!over.current()) return;
  const place = { unit: view.unit, y, x };
  over.ask = async () => {
    if (!over.wantsEffective() || over.effective || !over.current()) return;
    const signal = latest("effective");
    const found = await frame("effective", asked(place), signal).catch(() => null);
    if (!found || signal.aborted) return;
    over.effective = found.field;
    over.draw();
    over.say();
  };
  const signal = latest("field");
  const found = await json("unit", asked(place), signal).catch(() => null);
  if (!found || signal.aborted) return;
  Object.assign(over, { field: found.field, from: [y, x], effective: null });
  over.see(y, x);
  over.draw();
  over.say();
  over.ask();
}, 40);
