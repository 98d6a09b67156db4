// Starts the page.

import { exported, exportedView } from "./api.js";
import { startAblate } from "./ablate.js";
import { combo } from "./combo.js";
import { openDialog, startDialog } from "./dialog.js";
import { chooseLayer, startDiagram } from "./diagram.js";
import { byId, el, rove } from "./dom.js";
import { startExported } from "./exported.js";
import { startExplain } from "./explain.js";
import { language, localise, t } from "./i18n.js";
import { startLayer } from "./layer.js";
import { startPicture } from "./picture.js";
import { startPredictions } from "./predictions.js";
import { begin, INPUT, session } from "./session.js";
import { startShare } from "./share.js";
import { onChange, otherwise, restore, set, view } from "./state.js";
import { startUnit } from "./unit.js";
import { stopJobs } from "./unitjobs.js";

const NARROW = matchMedia("(max-width: 50rem)");
const TABS = ["layer", "unit", "explain", "ablate"];

function words() {
  localise();
  byId("find").placeholder = t("find");
  byId("find").setAttribute("aria-label", t("findLabel"));
  byId("tabs").setAttribute("aria-label", t("views"));
  byId("language").setAttribute("aria-label", t("language"));
  byId("theme").setAttribute("aria-label", t("theme"));
  byId("language").value = language();
  byId("theme").value = view.theme ?? "";
  const backends = session.backends.map((one) => one.name).join(", ");
  byId("model").textContent = session.model ? `${session.model} · ${backends}${exported ? ` · ${t("readOnly")}` : ""}` : "";
  document.title = session.model ? `${session.model} · vizkit explore` : "vizkit explore";
}

function theme() {
  if (view.theme === "light" || view.theme === "dark") document.documentElement.dataset.theme = view.theme;
  else delete document.documentElement.dataset.theme;
}

function tabs() {
  if (!TABS.includes(view.tab)) view.tab = "layer";
  for (const name of TABS) {
    const chosen = name === view.tab;
    byId(`tab-${name}`).setAttribute("aria-selected", String(chosen));
    byId(`tab-${name}`).tabIndex = chosen ? 0 : -1;
    byId(`view-${name}`).hidden = !chosen;
  }
}

function help() {
  const rows = [["/", "keySlash"], ["Esc", "keyEsc"], ["← ↑ → ↓", "keyArrows"], ["Enter", "keyEnter"], ["x", "keyX"], ["[ ]", "keyBrackets"], ["1 2 3 4", "keyTabs"]];
  openDialog(t("keysTitle"), el("dl", { class: "keys" }, ...rows.map(([key, name]) => el("div", {}, el("dt", {}, el("kbd", { text: key })), el("dd", { text: t(name) })))));
}

function keys(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || byId("dialog").open) return;
  if (event.key === "Escape") {
    if (event.target.closest("input, select")) event.target.blur();
    else if (view.tab === "unit") { set({ tab: "layer" }, true); byId("tab-layer").focus(); }
    stopJobs();
    return;
  }
  if (event.target.closest("input, select, textarea")) return;
  if (event.key === "/") { byId("find").focus(); event.preventDefault(); }
  else if (event.key === "?") help();
  else if (/^[1-4]$/.test(event.key)) { set({ tab: TABS[event.key - 1] }, true); byId(`tab-${view.tab}`).focus(); }
}

function listen() {
  for (const name of TABS) byId(`tab-${name}`).addEventListener("click", () => set({ tab: name }, true));
  byId("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const name = TABS[(TABS.indexOf(view.tab) + step + TABS.length) % TABS.length];
    set({ tab: name }, true);
    rove([...byId("tabs").children], byId(`tab-${name}`));
    event.preventDefault();
  });
  byId("language").addEventListener("change", (event) => set({ lang: event.target.value }));
  byId("theme").addEventListener("change", (event) => set({ theme: event.target.value || undefined }));
  byId("keys").addEventListener("click", help);
  combo(byId("find"), {
    search: (text) => session.layers.filter((one) => one.name.toLowerCase().includes(text.toLowerCase())).slice(0, 40)
      .map((one) => ({ text: one.name, about: `${one.kind} ${one.shape.slice(1).join("×")}`, value: one.name })),
    choose: (name) => { chooseLayer(name); byId("work").focus(); },
  });
  // The skip link, whose # would replace the view's address.
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); byId("work").focus(); });
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", () => restore(location.hash));
  window.addEventListener("popstate", () => restore(location.hash));
  onChange((changed) => {
    if (changed.has("tab")) tabs();
    if (changed.has("lang")) words();
    // In one column, what was asked for lies below what was pressed.
    if (["layer", "unit", "tab"].some((name) => changed.has(name)) && NARROW.matches) byId("work").scrollIntoView();
    if (changed.has("theme")) { theme(); byId("theme").value = view.theme ?? ""; }
  });
}

async function start() {
  restore(location.hash || exportedView);
  theme();
  words();
  startDialog();
  try {
    await begin();
  } catch (error) {
    byId("work").append(el("p", { class: "problem", role: "alert", text: error.message }));
    return;
  }
  words();
  otherwise({ picture: session.pictures[0]?.id, layer: session.layers.find((one) => one.maps && one.name !== INPUT)?.name });
  tabs();
  listen();
  startPicture();
  startDiagram();
  startPredictions();
  startLayer();
  startUnit();
  startExplain();
  startAblate();
  startShare();
  startExported();
  document.documentElement.dataset.ready = "";
}

start();
