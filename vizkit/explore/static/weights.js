// The filter whose result a unit is.

import { frame, json, latest } from "./api.js";
import { el, number } from "./dom.js";
import { t } from "./i18n.js";
import { largest, signed } from "./paint.js";
import { asked, backend } from "./session.js";
import { view } from "./state.js";

const SHOWN = 64;

export async function showWeights(place) {
  const signal = latest("weights"), { layer, unit } = view;
  const none = () => place.replaceChildren(el("p", { class: "hint", text: t("noWeights") }));
  try {
    const about = await json("unit", asked({ unit, y: view.y ?? 0, x: view.x ?? 0 }), signal);
    if (signal.aborted) return;
    if (!about.parameters) { none(); return; }
    const { kernel } = about.parameters;
    const found = await frame("weights", { layer, unit, b: backend() }, signal);
    if (signal.aborted) return;
    const [channels, height, width] = found.shapes.kernel, area = height * width;
    const slice = (c) => found.kernel.subarray(c * area, (c + 1) * area);
    const heavy = (c) => slice(c).reduce((sum, one) => sum + Math.abs(one), 0);
    const order = Array.from({ length: channels }, (_, c) => [c, heavy(c)]).sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
    const high = largest(found.kernel);
    place.replaceChildren(
      el("p", { class: "soft", text: t("weightFacts", { layer: about.parameters.layer, count: about.parameters.count, shape: kernel.join(" × "), bias: number(about.parameters.bias) }) }),
      el("div", { class: "kernels", role: "img", "aria-label": t("weightShown", { count: order.length, all: channels }) }, ...order.map(([c]) => {
        const canvas = el("canvas", { class: "mini", title: `${t("channel")} ${c}`, "aria-hidden": "true" });
        signed(canvas, slice(c), height, width, high);
        return canvas;
      })),
      el("p", { class: "soft small", text: t("weightShown", { count: order.length, all: channels }) }));
  } catch (error) {
    if (!signal.aborted) place.replaceChildren(el("p", { class: "problem", text: error.message }));
  }
}
