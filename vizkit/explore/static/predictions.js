// What the network answers, with bars, in every backend; beside it, with edits, what it answered before.

import { json, latest } from "./api.js";
import { announce, byId, el, failed, percent } from "./dom.js";
import { t } from "./i18n.js";
import { session } from "./session.js";
import { edits, onChange, set, view } from "./state.js";

const listeners = [];
let now = null;

/** `call({now, before})` when the predictions have changed. */
export const onPredictions = (call) => { listeners.push(call); if (now) call(now); };

/** The class that the first backend finds most probable. */
export const strongest = () => now?.now.backends[0].rows[0];

const ask = (made, signal) => json("predictions", { picture: view.picture, edits: made, top: 10 }, signal);

/** Of several answers, the probability of a class in one backend; undefined where it is not among the first. */
export const shareOf = (answer, name, index) => answer?.backends.find((one) => one.name === name)?.rows.find((row) => row.index === index)?.probability;

function bar(share, old) {
  const track = el("span", { class: "track", "aria-hidden": "true" });
  const fill = el("span", { class: "fill" });
  fill.style.width = `${100 * share}%`;
  track.append(fill);
  if (old !== undefined) {
    const tick = el("span", { class: "tick" });
    tick.style.left = `${100 * old}%`;
    track.append(tick);
  }
  return track;
}

function cell(answer, before, name, index) {
  const share = shareOf(answer, name, index), old = shareOf(before, name, index);
  const known = share !== undefined;
  const out = el("td", { class: "share", title: before && old !== undefined ? t("before", { value: percent(old) }) : "" });
  out.append(bar(known ? share : 0, old), el("span", { class: "figure", text: known ? percent(share) : "–" }));
  return out;
}

function table({ now: answer, before }) {
  const names = answer.backends.map((one) => one.name);
  const head = el("tr", {}, el("th", { scope: "col", text: t("class") }), ...names.map((one) => el("th", { scope: "col", text: one })));
  const rows = answer.backends[0].rows.map((row) => el("tr", { data: { index: row.index } },
    el("th", { scope: "row" }, el("button", {
      type: "button", class: "plain", text: row.label, title: t("explainThis", { label: row.label }),
      on: { click: () => set({ target: row.index, tab: "explain" }, true) },
    })), ...names.map((name) => cell(answer, before, name, row.index))));
  return el("table", { class: "bars" }, el("thead", {}, head), el("tbody", {}, ...rows));
}

function draw() {
  if (now) byId("predictions").replaceChildren(table(now));
}

async function load() {
  const signal = latest("predictions"), made = edits();
  byId("predictions").classList.add("waits");
  try {
    const [after, before] = await Promise.all([ask(made, signal), made ? ask("", signal) : null]);
    now = { now: after, before };
    draw();
    const first = after.backends[0].rows.slice(0, 3);
    announce(t("predicted", { rows: first.map((row) => `${row.label} ${percent(row.probability)}`).join(", ") }));
    for (const call of listeners) call(now);
  } catch (error) {
    failed(byId("predictions"), error);
  } finally {
    if (!signal.aborted) byId("predictions").classList.remove("waits");
  }
}

export function startPredictions() {
  if (session.pictures.length || view.picture) load();
  onChange((changed) => {
    if (changed.has("picture") || changed.has("edits")) load();
    else if (changed.has("lang")) draw();
  });
}
