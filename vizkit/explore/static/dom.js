// Small helpers around the document. Text from outside goes through textContent only.

export const byId = (id) => document.getElementById(id);

/** An element: `text`, `class`, `data`, `on` and properties of the element by name, everything else as an attribute. */
export function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "class") node.className = value;
    else if (name === "on") for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((one) => one !== null && one !== undefined));
  return node;
}

export const button = (text, call, options = {}) => el("button", { type: "button", text, on: { click: call }, ...options });

/** Says something to a screen reader, politely; the same words twice are said twice. */
export function announce(text) {
  const region = byId("live");
  region.textContent = "";
  setTimeout(() => { region.textContent = text; }, 60);
}

/** Runs `call` once, `wait` milliseconds after the last request. */
export function debounce(call, wait) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...values), wait);
  };
}

/** A number as a person reads it: four significant digits, no exponent where it can be helped. */
export function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return minus(value.toExponential(2));
  return minus(String(Number(value.toPrecision(digits))));
}

const minus = (text) => text.replace(/^-/, "−").replace("e-", "e−").replace("e+", "e");

/** A share in percent: what is not quite none or all does not read as it. */
export function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return share < 1 && share >= 0.9995 ? "> 99.9 %" : `${(100 * share).toFixed(1)} %`;
}

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Why something is not there, at its place. */
export function failed(place, error) {
  if (error.name === "AbortError") return;
  place.replaceChildren(el("p", { class: "problem", text: error.message }));
  announce(error.message);
}

/** One of a group is in the tab order; it gets the focus. */
export function rove(nodes, chosen, focus = true) {
  for (const node of nodes) node.tabIndex = node === chosen ? 0 : -1;
  if (focus) chosen?.focus({ preventScroll: false });
}
