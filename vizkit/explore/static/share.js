// The address of a view, its figure, and the Python that makes it.

import { exported, json, saveAddress } from "./api.js";
import { announce, button, byId, el } from "./dom.js";
import { openDialog } from "./dialog.js";
import { t } from "./i18n.js";
import { backend } from "./session.js";
import { onChange, view, write } from "./state.js";
import { strongest } from "./predictions.js";

/** The view with what the page chose for itself, so that the server makes the same. */
function whole() {
  const target = view.target ?? strongest()?.index;
  return write({ ...view, tab: view.tab, b: backend(), target }) + (view.tab === "layer" ? "&tab=layer" : "");
}

async function copy(text, said) {
  try {
    await navigator.clipboard.writeText(text);
    announce(said);
    return true;
  } catch { return false; }
}

async function link() {
  const node = byId("copy");
  if (await copy(location.href, t("copied"))) {
    node.textContent = "✓";
    setTimeout(() => { node.textContent = t("copyLink"); }, 1200);
  } else {
    openDialog(t("copyLink"), el("label", {}, el("span", { text: t("copyByHand") }), el("input", { readOnly: true, value: location.href, class: "wide" })));
  }
}

async function python() {
  const text = el("code", { text: t("loading") });
  const pre = el("pre", { tabindex: "0" }, text);
  openDialog(t("pythonTitle"), el("div", {}, pre, button(t("copyText"), () => copy(text.textContent, t("copied")))));
  try {
    text.textContent = (await json("line", { view: whole() })).line;
  } catch (error) { text.textContent = error.message; }
}

export function startShare() {
  const save = byId("save");
  for (const node of [save, byId("python")]) node.hidden = exported;
  byId("copy").addEventListener("click", link);
  byId("python").addEventListener("click", python);
  const point = () => {
    save.href = saveAddress(whole());
    save.download = `vizkit-${view.tab}.png`;
  };
  // The address is made when it is needed, since the predictions may have changed what it says.
  for (const event of ["pointerenter", "focus", "pointerdown"]) save.addEventListener(event, point);
  onChange(point);
  point();
}
