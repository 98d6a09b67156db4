// A field that finds: what is typed is looked up, arrow keys and Enter choose.

import { el } from "./dom.js";
import { t } from "./i18n.js";

let count = 0;

/** `search(text)` gives rows {text, about, value}, or a promise of them; `choose(value)` takes one. */
export function combo(input, { search, choose, keep = false }) {
  const id = `list-${++count}`;
  const list = el("ul", { id, class: "found", role: "listbox", tabindex: "-1", hidden: true });  // a list that scrolls is no stop of its own
  const box = el("div", { class: "combo" });
  input.before(box);
  box.append(input, list);
  for (const [name, value] of [["role", "combobox"], ["aria-expanded", "false"], ["aria-controls", id], ["aria-autocomplete", "list"]]) {
    input.setAttribute(name, value);
  }
  let rows = [], at = -1, asked = 0, looked = null;  // the search that has not answered yet

  const close = () => {
    asked++;  // an answer that comes later opens nothing
    looked = null;
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = (place) => {
    at = place;
    [...list.children].forEach((row, k) => row.setAttribute("aria-selected", String(k === at)));
    if (!rows.length) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", `${id}-${at}`);
    return list.children[at].scrollIntoView({ block: "nearest" });
  };
  const take = (row) => {
    input.value = keep ? row.text : "";
    close();
    choose(row.value);
  };
  const find = async () => {
    const mine = ++asked;
    const found = await Promise.resolve(search(input.value.trim())).catch(() => []);
    if (mine !== asked) return;
    looked = null;
    if (document.activeElement !== input) return;
    rows = found;
    list.setAttribute("aria-label", input.getAttribute("aria-label") ?? "");
    list.replaceChildren(...(rows.length ? rows.map((row, k) => el("li", {
      id: `${id}-${k}`, role: "option", "aria-selected": "false",
      // The field keeps the focus, so that the list does not close before the click arrives.
      on: { mousedown: (event) => event.preventDefault(), click: () => take(row) },
    }, el("span", { text: row.text }), el("small", { text: row.about ?? "" }))) : [el("li", { class: "soft", role: "option", "aria-disabled": "true", "aria-selected": "false", text: t("nothing") })]));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark(rows.length ? 0 : -1);
  };
  const look = () => { looked = find(); };
  const enter = async () => {
    while (looked) await looked;  // what is typed, not what was listed before
    if (!list.hidden && rows[at]) take(rows[at]);
  };
  input.addEventListener("input", look);
  input.addEventListener("focus", look);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const open = looked || !list.hidden;
    if (step && list.hidden) look();
    else if (step && rows.length) mark((at + step + rows.length) % rows.length);
    else if (event.key === "Enter" && open) enter();
    else if (event.key === "Escape" && open) close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
