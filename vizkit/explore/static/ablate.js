// Units switched off or added to; what becomes of the predictions.

import { exported } from "./api.js";
import { choice } from "./controls.js";
import { byId, button, el, number, percent } from "./dom.js";
import { change, without } from "./edits.js";
import { t } from "./i18n.js";
import { onPredictions, shareOf } from "./predictions.js";
import { INPUT, layerOf, session } from "./session.js";
import { onChange, set, view } from "./state.js";

let latestAnswer = null;

const difference = (points) => (Math.abs(points) < 0.05 ? "0.0" : `${points > 0 ? "+" : "−"}${Math.abs(points).toFixed(1)}`);

function row(one) {
  const name = `${one.layer} # ${one.unit}`;
  const shown = el("output", { text: number(one.amount ?? 0, 3) });
  const amount = one.mode === "add" ? el("label", { class: "slider" }, el("span", { text: t("amount") }), el("input", {
    type: "range", min: "-3", max: "3", step: "0.1", value: String(one.amount), disabled: exported, "aria-label": `${t("amount")}, ${name}`,
    on: { input: (event) => { shown.textContent = number(Number(event.target.value), 3); }, change: (event) => change(one.layer, one.unit, "add", Number(event.target.value)) },
  }), shown) : null;
  return el("li", { class: "edit" }, el("strong", { text: name }), el("span", { class: "soft", text: t(one.mode === "off" ? "off" : "add") }), amount,
    exported ? null : button(t("remove"), () => set({ edits: without(one.layer, one.unit) }, true), { "aria-label": `${t("remove")}: ${name}` }));
}

function form() {
  const layers = session.layers.filter((one) => one.maps && one.name !== INPUT);
  const layer = choice(t("layer"), layers.map((one) => [one.name, one.name]), layerOf(view.layer)?.maps ? view.layer : layers[0]?.name, () => {});
  const unit = el("input", { type: "number", min: "0", step: "1", value: String(view.unit ?? 0) });
  const amount = el("input", { type: "number", step: "0.1", value: "1" });
  const mode = choice(t("mode"), [["off", t("off")], ["add", t("add")]], "off", (value) => { amount.disabled = value === "off"; });
  amount.disabled = true;
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  return el("form", { class: "row", on: { submit: (event) => {
    event.preventDefault();
    const name = layer.querySelector("select").value, at = Number(unit.value), last = layerOf(name).units - 1;
    problem.hidden = Number.isInteger(at) && at >= 0 && at <= last;
    problem.textContent = problem.hidden ? "" : t("noSuchUnit", { layer: name, last });
    if (problem.hidden) change(name, at, mode.querySelector("select").value, Number(amount.value) || 0);
  } } }, layer, el("label", { class: "choice" }, el("span", { text: t("unitNumber") }), unit), mode,
    el("label", { class: "choice" }, el("span", { text: t("amount") }), amount), el("button", { text: t("addEdit") }), problem);
}

function comparison() {
  if (!latestAnswer?.before) return null;
  const { now, before } = latestAnswer;
  const tables = now.backends.map(({ name }) => {
    const old = before.backends.find((one) => one.name === name).rows, fresh = now.backends.find((one) => one.name === name).rows;
    const rows = [...old, ...fresh.filter((one) => !old.some((other) => other.index === one.index))];
    const cells = (row) => {
      const was = shareOf(before, name, row.index), is = shareOf(now, name, row.index);
      const both = was !== undefined && is !== undefined;
      const delta = both ? 100 * (is - was) : 0;
      return [was === undefined ? "–" : percent(was), is === undefined ? "–" : percent(is), both ? difference(delta) : "–"];
    };
    return el("table", { class: "numbers" }, el("caption", { text: name }),
      el("thead", {}, el("tr", {}, ...["class", "beforeWord", "afterWord", "change"].map((key) => el("th", { scope: "col", text: t(key) })))),
      el("tbody", {}, ...rows.map((row) => el("tr", { data: { index: row.index } }, el("th", { scope: "row", text: row.label }), ...cells(row).map((text) => el("td", { text }))))));
  });
  return el("section", {}, el("h3", { text: t("beforeAfter") }), el("div", { class: "side" }, ...tables));
}

function draw() {
  const count = view.edits.length;
  byId("edited").hidden = !count;
  byId("edited").textContent = t("editsCount", { count });
  if (view.tab !== "ablate") return;
  const place = byId("view-ablate"), focus = document.activeElement?.getAttribute("aria-label");
  place.replaceChildren(el("div", { class: "head" }, el("h2", { text: t("tabAblate") }), count && !exported ? button(t("clear"), () => set({ edits: [] }, true)) : null),
    el("p", { class: "soft", text: t("ablateHint") }), exported ? "" : form(),
    el("h3", { text: t("edits") }), count ? el("ul", { class: "edits" }, ...view.edits.map(row)) : el("p", { class: "hint", text: t("noEdits") }));
  const compared = comparison();
  if (compared) place.append(compared);
  if (focus) [...place.querySelectorAll("[aria-label]")].find((one) => one.getAttribute("aria-label") === focus)?.focus();
}

export function startAblate() {
  byId("edited").addEventListener("click", () => set({ tab: "ablate" }, true));
  onPredictions((answer) => { latestAnswer = answer; draw(); });
  draw();
  onChange((changed) => { if (["edits", "tab", "lang", "layer", "unit"].some((name) => changed.has(name))) draw(); });
}
