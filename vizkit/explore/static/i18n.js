// Words in the language of the view.

import { words } from "./api.js";
import { en } from "./lang_en.js";
import { zh } from "./lang_zh.js";
import { view } from "./state.js";

const LANGUAGES = { en, "zh-TW": zh };

export function language() {
  if (view.lang in LANGUAGES) return view.lang;
  if ((view.lang ?? "").startsWith("zh")) return "zh-TW";
  return (navigator.language ?? "").toLowerCase().startsWith("zh") ? "zh-TW" : "en";
}

/** The words of that name, with `values` in the places of their braces. */
export function t(name, values = {}) {
  const text = LANGUAGES[language()][name] ?? en[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
}

const FAMILIES = {
  "Attention": "famAttention",
  "Class-activation maps": "famCam",
  "Concepts": "famConcepts",
  "Controls": "famControls",
  "Dreams": "famDreams",
  "Gradients": "famGradients",
  "Perturbation": "famPerturbation",
  "Relevance": "famRelevance",
};

/** A family of methods: its name, and the sentence that begins with it; as the server says it where there are no words. */
export function family(said) {
  const title = FAMILIES[said.split(":")[0]] ? t(FAMILIES[said.split(":")[0]]) : said;
  return { text: title.split(/[:：]/)[0], title };
}

words(t);

/** Fills in what index.html leaves to the language. */
export function localise() {
  document.documentElement.lang = language();
  for (const node of document.querySelectorAll("[data-i18n]")) node.textContent = t(node.dataset.i18n);
  for (const node of document.querySelectorAll("[data-i18n-label]")) {
    node.setAttribute("aria-label", t(node.dataset.i18nLabel));
    node.title = t(node.dataset.i18nLabel);
  }
}
