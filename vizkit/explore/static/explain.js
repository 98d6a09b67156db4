// Explanations: methods by tick, a target by search, maps as overlays with linked pointers.

import { exported, job, json } from "./api.js";
import { announce, button, byId, el, number } from "./dom.js";
import { combo } from "./combo.js";
import { backends } from "./controls.js";
import { family, t } from "./i18n.js";
import { overlayCard } from "./overlay.js";
import { photo } from "./picture.js";
import { onPredictions, strongest } from "./predictions.js";
import { backend, session } from "./session.js";
import { onChange, set, view } from "./state.js";

let place = null, stop = null, doneFor = "";
const cards = new Map();
const labels = new Map();

const one = (id) => place.querySelector(`[data-part=${id}]`);
const targetOf = () => view.target ?? strongest()?.index;
const labelOf = (index) => labels.get(index) ?? String(index);
const body = () => ({ kind: "explain", picture: view.picture, target: targetOf(), methods: view.methods, b: backend(), ...(view.edits.length ? { edits: view.edits.map((each) => ({ ...each, amount: each.amount ?? 0 })) } : {}) });
const key = () => JSON.stringify(body());

async function find(text) {
  const rows = await json("labels", { q: text });
  for (const row of rows) labels.set(row.index, row.label);
  return rows.map((row) => ({ text: row.label, about: `# ${row.index}`, value: row.index }));
}

function methods() {
  const families = new Map();
  for (const each of session.methods) families.set(each.family, [...(families.get(each.family) ?? []), each]);
  const boxes = [...families].map(([name, rows]) => el("fieldset", {}, el("legend", family(name)), ...rows.map((each) => el("label", { title: each.line, data: { method: each.name } },
    el("input", { type: "checkbox", value: each.name, checked: view.methods.includes(each.name), on: { change: (event) => {
      const chosen = session.methods.map((row) => row.name).filter((name) => (name === each.name ? event.target.checked : view.methods.includes(name)));
      set({ methods: chosen });
    } } }), ` ${each.name}`))));
  const filter = el("input", { type: "search", placeholder: t("methodFind"), "aria-label": t("methodFind"), on: { input: (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const label of place.querySelectorAll("[data-method]")) label.hidden = !label.textContent.toLowerCase().includes(wanted) && !label.title.toLowerCase().includes(wanted);
    for (const box of place.querySelectorAll("fieldset")) box.hidden = [...box.querySelectorAll("[data-method]")].every((label) => label.hidden);
  } } });
  return el("details", { class: "methods", open: !view.methods.length }, el("summary", {}, el("span", { text: t("methods") }), el("small", { data: { part: "count" }, class: "soft" })), filter, el("div", { class: "families", tabindex: "0", role: "group", "aria-label": t("methods") }, ...boxes));
}

function slider(name, low, high, stepping) {
  const shown = el("output", { text: number(view[name], 2) });
  return el("label", { class: "slider" }, el("span", { text: t(name) }), el("input", { type: "range", min: low, max: high, step: stepping, value: String(view[name]), data: { part: name }, "aria-label": t(name),
    on: { input: (event) => { shown.textContent = number(Number(event.target.value), 2); set({ [name]: Number(event.target.value) }); } } }), shown);
}

function build() {
  const input = el("input", { type: "search", placeholder: t("targetFind"), "aria-label": t("target"), autocomplete: "off", spellcheck: "false" });
  const target = el("div", { class: "choice" }, el("span", { text: t("target") }), el("div", {}, input));
  combo(input, { search: find, choose: (index) => set({ target: index }, true) });
  place.replaceChildren(
    el("div", { class: "head" }, el("h2", { text: t("tabExplain") }), el("div", { class: "row" }, ...backends().slice(0, 1))),
    methods(),
    el("div", { class: "row" }, exported ? null : target, el("strong", { data: { part: "target" } }),
      button(t("strongest"), () => set({ target: undefined }, true), { class: "plain", data: { part: "strongest" } }),
      button(t("explain"), () => (stop ? halt() : run()), { class: "main", data: { part: "run" } }),
      el("output", { class: "soft small", data: { part: "words" } })),
    el("div", { class: "row" }, slider("opacity", "0", "1", "0.05"), slider("threshold", "0", "0.95", "0.05")),
    el("div", { class: "overlays", data: { part: "cards" } }));
  cards.clear();
  doneFor = "";
  describe();
}

function describe() {
  if (!place.firstChild || !one("target")) return;
  const target = targetOf();
  one("target").textContent = target === undefined ? "" : labelOf(target);
  one("strongest").hidden = view.target === undefined;
  one("count").textContent = t("methodCount", { count: view.methods.length });
  one("run").disabled = !view.methods.length;
  if (!cards.size && !stop) one("words").textContent = t("explainHint");
}

function halt(words = t("stopped")) {
  stop?.();
  stop = null;
  if (!one("run")) return;
  one("run").textContent = t("explain");
  one("words").textContent = words;
}

function link(y, x) {
  for (const card of cards.values()) card.point(y, x);
}

async function run() {
  stop?.();
  const made = body();
  if (!made.methods.length || made.target === undefined) return;
  doneFor = key();
  for (const [name, card] of cards) if (!made.methods.includes(name)) { card.node.remove(); cards.delete(name); }
  const pixels = await photo(view.picture);
  if (doneFor !== JSON.stringify(made)) return;
  one("run").textContent = t("stop");
  let failure = "", count = 0;
  for (const card of cards.values()) card.node.classList.add("waits");
  const problems = [];
  stop = job(made, {
    step: ({ done, of, text }) => { one("words").textContent = t("working", { done, of, text: text ?? "" }); },
    result: (data, found) => {
      count++;
      const card = overlayCard(found, pixels, { link, target: labelOf(made.target) });
      cards.get(found.method)?.node.remove();
      cards.set(found.method, card);
      one("cards").append(card.node);
    },
    error: (error) => { failure = error.error ?? error.message; problems.push(failure); one("cards").append(el("p", { class: "problem", text: failure })); },
    end: () => {
      for (const card of cards.values()) card.node.classList.remove("waits");
      halt(problems.length ? "" : t("explained", { count }));
      announce(failure || t("explained", { count }));
    },
  });
  for (const old of one("cards").querySelectorAll(".problem")) old.remove();
}

/** A view with ticked methods that is opened, or whose picture changes, is explained at once. */
function follow() {
  if (view.tab !== "explain") return;
  if (view.methods.length && targetOf() !== undefined && doneFor !== key() && (cards.size || !place.dataset.began)) run();
  place.dataset.began = "1";
}

export function startExplain() {
  place = byId("view-explain");
  const needed = () => { if (view.tab === "explain" && !place.firstChild) build(); };
  needed();
  let ready = false;
  onPredictions(({ now }) => {
    for (const row of now.backends[0].rows) labels.set(row.index, row.label);
    ready = true;
    describe();
    if (view.tab === "explain") follow();
  });
  onChange((changed) => {
    if (changed.has("tab") && view.tab !== "explain" && stop) halt();
    if (changed.has("lang") || changed.has("b")) place.replaceChildren();
    if (view.tab !== "explain") return;
    const fresh = !place.firstChild;
    needed();
    if (changed.has("opacity") || changed.has("threshold")) for (const card of cards.values()) card.draw();
    if (changed.has("methods")) {
      for (const [name, card] of cards) if (!view.methods.includes(name)) { card.node.remove(); cards.delete(name); }
      for (const box of place.querySelectorAll("input[type=checkbox]")) box.checked = view.methods.includes(box.value);
    }
    describe();
    // A new picture or new edits wait for their predictions, whose strongest class may be the target.
    if (ready && !changed.has("picture") && !changed.has("edits") && (changed.has("tab") || changed.has("target") || fresh)) {
      if (fresh) delete place.dataset.began;
      follow();
    }
  });
}

