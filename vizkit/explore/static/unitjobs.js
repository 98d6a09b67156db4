// Work on a unit that takes a while: the patches where it is strongest, and a dream that grows while one watches.

import { job } from "./api.js";
import { announce, button, el, number } from "./dom.js";
import { t } from "./i18n.js";
import { rgb } from "./paint.js";
import { backend } from "./session.js";
import { view } from "./state.js";

const PATCHES = 9, STEPS = 128;
const running = new Set();

/** Stops what runs, as when the unit goes out of sight. */
export function stopJobs() {
  for (const halt of [...running]) halt();
}

/** A button that begins a job and stops it, and the words about it. */
function control(text, begin) {
  const words = el("output", { class: "soft small" });
  const meter = el("progress", { max: 1, value: 0, hidden: true, "aria-label": text });
  let stop = null;
  const done = (said) => {
    running.delete(halt);
    stop = null;
    meter.hidden = true;
    start.textContent = text;
    if (said) { words.textContent = said; announce(said); }
  };
  const halt = () => { stop?.(); done(t("stopped")); };
  const start = button(text, () => {
    if (stop) { halt(); return; }
    start.textContent = t("stop");
    meter.hidden = false;
    let failure = "";
    stop = begin({
      step: ({ done: at, of, text: about }) => { meter.value = of ? at / of : 0; words.textContent = about || t("dreamStep", { done: at, of }); },
      error: (error) => { failure = error.message; },
      end: () => { words.textContent = ""; done(failure); },
    }, words);
    running.add(halt);
  }, { class: "main" });
  return el("div", { class: "row" }, start, meter, words);
}

function dream(place) {
  const canvas = el("canvas", { role: "img", "aria-label": t("dream"), hidden: true, class: "dream" });
  const steps = el("input", { type: "number", min: "8", max: "1024", step: "8", value: String(STEPS) });
  const seed = el("input", { type: "number", min: "0", step: "1", value: "0" });
  const row = control(t("startDream"), (on, words) => {
    const of = Number(steps.value) || STEPS;
    let end = null;
    return job({ kind: "dream", layer: view.layer, unit: view.unit, b: backend(), steps: of, seed: Number(seed.value) || 0 }, {
      ...on,
      result: (data, found) => {
        const [height, width] = found.shapes.picture;
        rgb(canvas, found.picture, height, width);
        canvas.hidden = false;
        canvas.dataset.step = String(found.step);
        end = t("dreamValue", { value: number(found.activation) });
        words.textContent = `${t("dreamStep", { done: found.step, of })} · ${end}`;
      },
      end: () => { on.end(); if (end) { words.textContent = `${t("dreamDone")} ${end}`; announce(words.textContent); } },
    });
  });
  row.append(el("label", { class: "choice" }, el("span", { text: t("dreamSteps") }), steps), el("label", { class: "choice" }, el("span", { text: t("seed") }), seed));
  place.replaceChildren(row, canvas);
}

function patches(place) {
  const list = el("ol", { class: "patches" });
  const row = control(t("findPatches"), (on) => job({ kind: "patches", layer: view.layer, unit: view.unit, k: PATCHES, b: backend() }, {
    ...on,
    result: (data, found) => {
      const [count, height, width] = found.shapes.patches, size = height * width * 3;
      list.replaceChildren(...Array.from({ length: count }, (_, k) => {
        const words = t("patchLabel", { name: found.names[k], value: number(found.activations[k]) });
        const canvas = el("canvas", { role: "img", "aria-label": words });
        rgb(canvas, found.patches.subarray(k * size, (k + 1) * size), height, width);
        return el("li", {}, canvas, el("small", { text: words }));
      }));
    },
  }));
  place.replaceChildren(row, list);
}

export function startJobs(patchesPlace, dreamPlace) {
  patches(patchesPlace);
  if (dreamPlace) dream(dreamPlace);
}
