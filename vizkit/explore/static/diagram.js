// The network as a tree of steps and blocks that open and close, with the lines of the traced graph behind it.

import { byId, el, rove } from "./dom.js";
import { t } from "./i18n.js";
import { layout } from "./layout.js";
import { session } from "./session.js";
import { onChange, set, view } from "./state.js";

const SVG = "http://www.w3.org/2000/svg";
const open = new Set();
let tree = null, focused = null;

const size = (shape) => (shape ?? []).slice(1).join("×");

/** A layer's name within its block. */
const short = (node) => (node.block && node.layer?.startsWith(`${node.block}.`) ? node.layer.slice(node.block.length + 1) : node.layer);

function svg(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function way({ from, to, round }) {
  const x0 = from.x + from.width / 2, y0 = from.y + from.height, x1 = to.x + to.width / 2, y1 = to.y;
  if (round) {
    const right = Math.max(from.x + from.width, to.x + to.width), a = from.y + from.height / 2, b = to.y + to.height / 2;
    return `M${from.x + from.width} ${a}C${right + 22} ${a} ${right + 22} ${b} ${to.x + to.width} ${b}`;
  }
  const half = (y1 - y0) / 2;
  return `M${x0} ${y0}C${x0} ${y0 + half} ${x1} ${y1 - half} ${x1} ${y1}`;
}

function choose(layer) {
  const changes = { layer };
  if (layer !== view.layer) Object.assign(changes, { unit: undefined, y: undefined, x: undefined });
  if (view.tab === "unit" || view.tab === "explain" || !view.tab) changes.tab = "layer";
  set(changes, true);
}

function toggle(id) {
  if (!open.delete(id)) open.add(id);
  focused = `b${id}`;
  draw(true);
}

function item(box) {
  const { node, block } = box;
  const name = block ? block.id : node.label;
  const about = block ? t("blockOf", { name: block.id, kind: block.label, count: block.layers.length }) : [node.layer, size(node.shape)].filter(Boolean).join(", ");
  const selected = Boolean(node?.layer && node.layer === view.layer) || Boolean(block && !box.open && block.layers.includes(view.layer));
  const out = el("div", {
    role: "treeitem", class: block ? `box block${box.open ? " open" : ""}` : "box", tabindex: "-1", "aria-level": String(box.level),
    "aria-label": block ? about : `${name}, ${about}`, "aria-selected": String(selected),
    "aria-expanded": block ? String(Boolean(box.open)) : null, data: { key: box.key, kind: node?.kind ?? "block", layer: node?.layer ?? "" },
  });
  if (node && !node.layer) out.setAttribute("aria-disabled", "true");
  const head = el("span", { class: "name", text: name });
  const small = el("small", { text: block ? [block.label, box.open ? "" : t("steps", { count: block.layers.length })].filter(Boolean).join(" · ") : [node.layer === node.label ? "" : short(node), size(node.shape)].filter(Boolean).join(" · ") });
  out.append(head, small);
  Object.assign(out.style, { left: `${box.x}px`, top: `${box.y}px`, width: `${box.width}px`, height: `${box.height}px` });
  out.addEventListener("click", () => {
    focused = box.key;
    if (block) toggle(block.id);
    else if (node.layer) choose(node.layer);
    rove([...tree.children], tree.querySelector(`[data-key="${CSS.escape(box.key)}"]`));
  });
  return out;
}

function draw(focus = false) {
  const { width, height, boxes, lines } = layout(session.diagram, open);
  const lined = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (const line of lines) lined.append(svg("path", { d: way(line) }));
  tree = el("div", { role: "tree", class: "tree", "aria-label": t("network") });
  // Open blocks first, so that their frames lie below what is in them; the arrow keys follow the order of the boxes.
  tree.append(...boxes.map(item));
  Object.assign(tree.style, { width: `${width}px`, height: `${height}px` });
  byId("diagram").replaceChildren(el("div", { class: "canvas" }, lined, tree));
  const nodes = [...tree.children];
  const at = nodes.find((one) => one.dataset.key === focused) ?? nodes.find((one) => one.ariaSelected === "true") ?? nodes[0];
  rove(nodes, at, focus);
}

/** Opens the blocks around the chosen layer and marks it. */
function mark() {
  const node = session.diagram.nodes.find((one) => one.layer === view.layer);
  const parents = new Map(session.diagram.blocks.map((one) => [one.id, one.parent ?? null]));
  for (let at = node?.block ?? null; at !== null; at = parents.get(at) ?? null) open.add(at);
  draw();
  // Only the column moves, never the page under the reader.
  const found = [...tree.children].find((one) => one.dataset.layer && one.dataset.layer === view.layer);
  const frame = byId("diagram");
  if (found) {
    const top = found.offsetTop, bottom = top + found.offsetHeight;
    if (top < frame.scrollTop || bottom > frame.scrollTop + frame.clientHeight) frame.scrollTop = top - frame.clientHeight / 2;
  }
}

function keys(event) {
  const nodes = [...tree.children], at = nodes.indexOf(document.activeElement);
  if (at < 0) return;
  const here = nodes[at], expanded = here.getAttribute("aria-expanded");
  const go = (place) => rove(nodes, nodes[Math.min(Math.max(place, 0), nodes.length - 1)]);
  if (event.key === "ArrowDown") go(at + 1);
  else if (event.key === "ArrowUp") go(at - 1);
  else if (event.key === "Home") go(0);
  else if (event.key === "End") go(nodes.length - 1);
  else if (event.key === "ArrowRight" && expanded === "false") here.click();
  else if (event.key === "ArrowRight") go(at + 1);
  else if (event.key === "ArrowLeft" && expanded === "true") here.click();
  else if (event.key === "ArrowLeft") {
    const level = Number(here.ariaLevel);
    let up = at;
    while (up > 0 && Number(nodes[up].ariaLevel) >= level) up--;
    go(up);
  } else if (event.key === "Enter" || event.key === " ") here.click();
  else return;
  focused = document.activeElement?.dataset?.key ?? focused;
  event.preventDefault();
}

export function startDiagram() {
  // A block that is most of the network is no block to whoever looks for one.
  for (const one of session.diagram.blocks) if (one.layers.length > session.diagram.nodes.length / 2) open.add(one.id);
  byId("diagram").addEventListener("keydown", keys);
  byId("open-all").addEventListener("click", () => { session.diagram.blocks.forEach((one) => open.add(one.id)); draw(); });
  byId("close-all").addEventListener("click", () => { open.clear(); draw(); });
  for (const name of ["open-all", "close-all"]) byId(name).hidden = !session.diagram.blocks.length;
  mark();
  onChange((changed) => {
    if (changed.has("layer")) { focused = null; mark(); }
    else if (changed.has("lang")) draw();
  });
}

export { choose as chooseLayer };
