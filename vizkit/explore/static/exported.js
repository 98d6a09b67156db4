// The views of an exported site, to choose from.

import { exported, exportedViews } from "./api.js";
import { byId, el } from "./dom.js";
import { t } from "./i18n.js";
import { onChange, parse } from "./state.js";

const TITLES = { layer: "tabLayer", unit: "tabUnit", explain: "tabExplain", ablate: "tabAblate" };

function title(view) {
  const about = { layer: [view.layer], unit: [view.layer, view.unit === undefined ? "" : `#${view.unit}`], explain: [view.methods.join(", ")] }[view.tab] ?? [];
  return [t(TITLES[view.tab] ?? "tabLayer"), ...about].filter((one) => one !== undefined && one !== "").join(" ");
}

function list() {
  const links = exportedViews.map((text) => el("a", { class: "button", href: `#${text}`, text: title(parse(text)) }));
  byId("exported").replaceChildren(...links);
  byId("exported").setAttribute("aria-label", t("exportedViews"));
}

export function startExported() {
  byId("exported").hidden = !exported || exportedViews.length < 2;
  list();
  onChange((changed) => { if (changed.has("lang")) list(); });
}
