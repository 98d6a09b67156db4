// The view: everything that its address restores.

const LISTS = ["methods"];
const NUMBERS = ["unit", "y", "x", "target", "opacity", "threshold"];
const TEXTS = ["tab", "picture", "layer", "b", "other", "sort", "lang", "theme"];
const DEFAULTS = { tab: "layer", sort: "strength", opacity: 0.8, threshold: 0 };
const fallback = {};
const listeners = [];

export const view = { ...DEFAULTS, methods: [], edits: [] };

/** `call(changed)` after every change; `changed` is a Set of names. */
export const onChange = (call) => listeners.push(call);

export function parse(text) {
  const found = { ...DEFAULTS, ...fallback, methods: [], edits: [] };
  const given = new URLSearchParams(text.replace(/^#/, ""));
  for (const name of TEXTS) if (given.get(name)) found[name] = given.get(name);
  for (const name of LISTS) if (given.get(name)) found[name] = given.get(name).split(",").filter(Boolean);
  for (const name of NUMBERS) {
    const value = Number(given.get(name) ?? "none");
    if (given.get(name) && Number.isFinite(value)) found[name] = value;
  }
  try {
    const edits = JSON.parse(given.get("edits") ?? "[]");
    if (Array.isArray(edits)) found.edits = edits.filter((one) => one && typeof one.layer === "string" && Number.isInteger(one.unit));
  } catch { /* an address that was cut off: no edits */ }
  return found;
}

/** What an address that does not say it means; it is written all the same. */
export function otherwise(values) {
  for (const [name, value] of Object.entries(values)) {
    fallback[name] = value;
    view[name] ??= value;
  }
}

export function write(state = view) {
  const out = new URLSearchParams();
  const known = (value) => value !== undefined && value !== null && value !== "";
  for (const name of [...TEXTS, ...NUMBERS]) if (known(state[name]) && state[name] !== DEFAULTS[name]) out.set(name, state[name]);
  for (const name of LISTS) if (state[name].length) out.set(name, state[name].join(","));
  if (state.edits.length) out.set("edits", edits(state));
  return out.toString();
}

/** The edits as requests carry them; nothing without any. */
export function edits(state = view) {
  if (!state.edits.length) return "";
  return JSON.stringify(state.edits.map(({ layer, unit, mode, amount }) => ({ layer, unit, mode, amount: amount ?? 0 })));
}

/** Changes the view, its address and all that shows it. `push` makes a step that the browser's Back undoes. */
export function set(changes, push = false) {
  const changed = new Set();
  for (const [name, value] of Object.entries(changes)) {
    if (JSON.stringify(view[name]) === JSON.stringify(value)) continue;
    view[name] = value;
    changed.add(name);
  }
  if (!changed.size) return;
  history[push ? "pushState" : "replaceState"](null, "", `#${write()}`);
  tell(changed);
}

function tell(changed) {
  for (const call of listeners) call(changed);
}

/** Takes the view from the address. */
export function restore(text) {
  const found = parse(text);
  const changed = new Set();
  for (const name of new Set([...Object.keys(view), ...Object.keys(found)])) {
    if (JSON.stringify(view[name]) === JSON.stringify(found[name])) continue;
    if (found[name] === undefined) delete view[name];
    else view[name] = found[name];
    changed.add(name);
  }
  if (changed.size) tell(changed);
}
