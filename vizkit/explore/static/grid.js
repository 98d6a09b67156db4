// A grid of thousands of maps of which only the rows in sight exist; rows that leave are used again.

import { el, number } from "./dom.js";
import { bytes } from "./paint.js";

const CELL = 92, GAP = 8, FOOT = 24, EXTRA = 2, KEPT = 48;

export class MapGrid {
  /**
   * @param layer the session's layer; @param ask (from) => a frame of `count` maps; @param open (unit) => shows a unit;
   * @param toggle (unit) => switches it off or on; @param double two maps a cell; @param off units that are switched off.
   */
  constructor({ layer, ask, count, labels, off, double, open, toggle }) {
    Object.assign(this, { layer, ask, count, labels, off, double, open, toggle });
    this.pages = new Map();
    this.rows = [];
    this.at = 0;
    this.chosen = null;
    this.space = el("div", { class: "space", role: "presentation" });
    this.scroller = el("div", { class: "grid", role: "grid", "aria-label": labels.grid, on: {
      scroll: () => this.later(), keydown: (event) => this.keys(event), click: (event) => this.press(event),
    } }, this.space);
    this.waiting = 0;
    this.observer = new ResizeObserver(() => this.settle());
  }

  /** Asks for the first page, which also has the order of all units. */
  async begin() {
    const first = await this.page(0);
    this.order = first.order;
    this.strength = first.strength;
    this.high = first.strength.reduce((high, one) => Math.max(high, one), 0) || 1;
    this.place = new Map([...this.order].map((unit, k) => [unit, k]));
    this.scroller.setAttribute("aria-rowcount", "0");
    this.observer.observe(this.scroller);
  }

  page(k) {
    let found = this.pages.get(k);
    if (!found) {
      const made = { data: null };
      made.promise = this.ask(k * this.count).then((data) => {
        made.data = data;
        this.later();
        return data;
      });
      made.promise.catch(() => this.pages.delete(k));
      found = made;
    }
    // The last used is the last in the map; the first of it go when there are many.
    this.pages.delete(k);
    this.pages.set(k, found);
    if (this.pages.size > KEPT) this.pages.delete(this.pages.keys().next().value);
    return found.promise;
  }

  later() {
    if (!this.waiting) this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.draw(); });
  }

  /** Columns and heights for the room that there is. */
  settle() {
    if (!this.order || !this.scroller.clientWidth) return;
    const room = this.scroller.clientWidth - 2 * GAP, side = this.double ? 2 * CELL + 2 : CELL;
    const columns = Math.max(1, Math.floor((room + GAP) / (side + GAP)));
    if (columns === this.columns && this.height === this.scroller.clientHeight) return;
    this.columns = columns;
    this.height = this.scroller.clientHeight;
    this.wide = Math.floor((room + GAP) / columns) - GAP;
    this.side = this.double ? Math.floor((this.wide - 2) / 2) : this.wide;
    this.tall = this.side + FOOT + (this.double ? 16 : 0) + GAP;
    this.total = Math.ceil(this.order.length / columns);
    this.space.style.height = `${this.total * this.tall + GAP}px`;
    this.scroller.setAttribute("aria-rowcount", String(this.total));
    this.scroller.setAttribute("aria-colcount", String(columns));
    this.space.replaceChildren();
    this.rows = [];
    this.draw();
  }

  row() {
    const cells = Array.from({ length: this.columns }, (_, k) => {
      const maps = [el("canvas", { "aria-hidden": "true" }), this.double ? el("canvas", { "aria-hidden": "true" }) : null];
      const bar = el("span", { class: "strength" }), name = el("span", { class: "number" }), note = this.double ? el("span", { class: "difference" }) : null;
      const node = el("div", { role: "gridcell", class: "cell", tabindex: "-1", "aria-colindex": String(k + 1) },
        el("span", { class: "maps" }, ...maps), el("span", { class: "foot" }, name, el("span", { class: "track" }, bar)), note);
      node.style.width = `${this.wide}px`;
      for (const one of maps) if (one) Object.assign(one.style, { width: `${this.side}px`, height: `${this.side}px` });
      return { node, maps, bar, name, note, drawn: null, unit: null };
    });
    const node = el("div", { role: "row", class: "maprow" }, ...cells.map((one) => one.node));
    this.space.append(node);
    return { node, cells, at: null };
  }

  draw() {
    if (!this.columns || !this.scroller.isConnected) return;
    const top = this.scroller.scrollTop;
    const first = Math.max(0, Math.floor(top / this.tall) - EXTRA);
    const last = Math.min(this.total - 1, Math.floor((top + this.height) / this.tall) + EXTRA);
    const free = this.rows.filter((one) => one.at === null || one.at < first || one.at > last);
    const held = new Set(this.rows.filter((one) => !free.includes(one)).map((one) => one.at));
    for (let k = first; k <= last; k++) {
      if (held.has(k)) continue;
      let one = free.pop();
      if (!one) { one = this.row(); this.rows.push(one); }
      one.at = k;
      one.node.hidden = false;
      one.node.setAttribute("aria-rowindex", String(k + 1));
      one.node.style.transform = `translateY(${k * this.tall + GAP}px)`;
      one.cells.forEach((cell, c) => this.label(cell, k * this.columns + c));
    }
    for (const one of free) { one.at = null; one.node.hidden = true; }
    for (const one of this.rows) if (one.at !== null) one.cells.forEach((cell, c) => this.paint(cell, one.at * this.columns + c));
  }

  label(cell, at) {
    const there = at < this.order.length;
    cell.node.hidden = !there;
    cell.drawn = null;
    if (!there) return;
    const unit = this.order[at], strength = this.strength[at];
    cell.unit = unit;
    cell.name.textContent = String(unit);
    cell.node.title = number(strength, 3);
    cell.bar.style.width = `${100 * strength / this.high}%`;
    cell.node.dataset.unit = String(unit);
    cell.node.dataset.at = String(at);
    cell.node.setAttribute("aria-label", this.labels.unit(unit, strength));
    cell.node.setAttribute("aria-selected", String(unit === this.chosen));
    cell.node.classList.toggle("off", this.off.has(unit));
    cell.node.tabIndex = at === this.at ? 0 : -1;
  }

  paint(cell, at) {
    if (at >= this.order.length || cell.drawn === at) return;
    const k = Math.floor(at / this.count);
    this.page(k).catch(() => {});
    const data = this.pages.get(k)?.data;
    cell.node.classList.toggle("waits", !data);
    if (!data) return;
    const [, height, width] = data.shapes.thumbs, from = (at - k * this.count) * height * width;
    bytes(cell.maps[0], data.thumbs.subarray(from, from + height * width), height, width);
    if (this.double) {
      bytes(cell.maps[1], data.other_thumbs.subarray(from, from + height * width), height, width);
      cell.note.textContent = this.labels.difference(data.difference[at - k * this.count]);
    }
    cell.drawn = at;
  }

  /** Marks the chosen unit and gives it the place in the tab order. */
  mark(unit) {
    this.chosen = unit ?? null;
    if (this.chosen !== null && this.place?.has(this.chosen)) this.at = this.place.get(this.chosen);
    for (const row of this.rows) if (row.at !== null) row.cells.forEach((cell, c) => {
      cell.node.setAttribute("aria-selected", String(cell.unit === this.chosen));
      cell.node.tabIndex = row.at * this.columns + c === this.at ? 0 : -1;
    });
  }

  /** The focus goes to that place, which is scrolled to. */
  go(at) {
    this.at = Math.min(Math.max(at, 0), this.order.length - 1);
    const top = Math.floor(this.at / this.columns) * this.tall;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + this.tall + GAP > this.scroller.scrollTop + this.height) this.scroller.scrollTop = top + this.tall + GAP - this.height;
    this.draw();
    for (const row of this.rows) if (row.at !== null) row.cells.forEach((cell, c) => {
      const here = row.at * this.columns + c === this.at;
      cell.node.tabIndex = here ? 0 : -1;
      if (here) cell.node.focus({ preventScroll: true });
    });
  }

  press(event) {
    const cell = event.target.closest(".cell");
    if (cell) this.open(Number(cell.dataset.unit));
  }

  keys(event) {
    const cell = event.target.closest(".cell");
    if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = Number(cell.dataset.at), page = this.columns * Math.max(1, Math.floor(this.height / this.tall));
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + this.columns, ArrowUp: at - this.columns,
      PageDown: at + page, PageUp: at - page, Home: 0, End: this.order.length - 1 }[event.key];
    if (to !== undefined) this.go(to);
    else if (event.key === "Enter" || event.key === " ") this.open(Number(cell.dataset.unit));
    else if (event.key === "x") this.toggle(Number(cell.dataset.unit));
    else return;
    event.preventDefault();
  }
}
