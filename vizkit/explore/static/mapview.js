// One large map whose pixels are pointed at, by mouse, finger or arrow keys.

import { clamp, el } from "./dom.js";

/**
 * A canvas of `draw(canvas)` with a frame around one pixel. `move(y, x)` on every pixel pointed at, `pin(y, x)` on a
 * click, Enter or an arrow key.
 */
export function mapView({ name, height, width, label, draw, move, pin }) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  draw(canvas);
  const cursor = el("span", { class: "cursor", hidden: true, "aria-hidden": "true" });
  // An application, since its arrow keys move over pixels; what is under them is said by a live region.
  const node = el("div", { class: "map", tabindex: "0", role: "application", "aria-label": label, data: { part: name } }, canvas, cursor);
  node.style.aspectRatio = `${width} / ${height}`;
  let at = [0, 0], pinned = [0, 0];
  const frame = ([y, x]) => {
    cursor.hidden = false;
    Object.assign(cursor.style, { left: `${100 * x / width}%`, top: `${100 * y / height}%`, width: `${100 / width}%`, height: `${100 / height}%` });
  };
  const pixel = (event) => {
    const box = canvas.getBoundingClientRect();
    return [clamp(Math.floor((event.clientY - box.top) / box.height * height), 0, height - 1),
      clamp(Math.floor((event.clientX - box.left) / box.width * width), 0, width - 1)];
  };
  const to = (place) => {
    if (place[0] === at[0] && place[1] === at[1]) return;
    at = place;
    frame(at);
    move(...at);
  };
  node.addEventListener("pointermove", (event) => to(pixel(event)));
  node.addEventListener("pointerleave", () => to(pinned));
  node.addEventListener("click", (event) => { pinned = at = pixel(event); frame(at); pin(...at); });
  node.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    pinned = at = [clamp(at[0] + step[0], 0, height - 1), clamp(at[1] + step[1], 0, width - 1)];
    frame(at);
    pin(...at);
  });
  return { node, point: (y, x) => { pinned = at = [y, x]; frame(at); } };
}
