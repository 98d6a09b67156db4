// Choices that several views offer.

import { el } from "./dom.js";
import { t } from "./i18n.js";
import { backend, beside, session } from "./session.js";
import { set } from "./state.js";

/** A labelled choice. */
export function choice(label, options, value, call) {
  const select = el("select", { "aria-label": label, on: { change: (event) => call(event.target.value) } },
    ...options.map(([key, text]) => el("option", { value: key, text })));
  select.value = value;
  return el("label", { class: "choice" }, el("span", { text: label }), select);
}

/** Which backend is shown, and which beside it; nothing with one backend. */
export function backends() {
  if (session.backends.length < 2) return [];
  const names = session.backends.map((one) => one.name);
  return [
    choice(t("backend"), names.map((name) => [name, name]), backend(), (name) => set({ b: name, other: beside() ? names.find((one) => one !== name) : undefined }, true)),
    choice(t("other"), [["", t("none")], ...names.filter((name) => name !== backend()).map((name) => [name, name])], beside(), (name) => set({ other: name || undefined }, true)),
  ];
}
