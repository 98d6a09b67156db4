// Arrays as pixels.

import { DIVERGING, INFERNO, VIRIDIS } from "./colours.js";
import { clamp } from "./dom.js";

/** A canvas of that many pixels with what `fill(pixels)` writes into its 32-bit colours. */
export function pixels(canvas, height, width, fill) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const image = new ImageData(width, height);
  fill(new Uint32Array(image.data.buffer));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** A map that is already scaled to 0..255. */
export function bytes(canvas, values, height, width) {
  pixels(canvas, height, width, (out) => {
    for (let i = 0; i < out.length; i++) out[i] = VIRIDIS[values[i]];
  });
}

/** A map from `low` to `high`. */
export function sequential(canvas, values, height, width, low, high, colours = VIRIDIS) {
  const scale = high > low ? 255.999 / (high - low) : 0;
  pixels(canvas, height, width, (out) => {
    for (let i = 0; i < out.length; i++) out[i] = colours[clamp((values[i] - low) * scale, 0, 255) | 0];
  });
}

/** Signed values around zero: red above, blue below. */
export function signed(canvas, values, height, width, high) {
  sequential(canvas, values, height, width, -(high || 1), high || 1, DIVERGING);
}

export function largest(values) {
  let high = 0;
  for (const value of values) if (Math.abs(value) > high) high = Math.abs(value);
  return high;
}

/** Where a map's colours end: the 99.5th percentile of its size, as NumPy computes it. */
function end(values) {
  const sizes = Float64Array.from(values, Math.abs).filter(Number.isFinite).sort();
  if (!sizes.length || !(sizes.at(-1) > 0)) return 0;
  const place = 0.995 * (sizes.length - 1), below = Math.floor(place);
  const above = sizes[Math.min(below + 1, sizes.length - 1)];
  return sizes[below] + (place - below) * (above - sizes[below]) || sizes.at(-1);
}

/** As `vizkit.draw.overlay.limits`: around zero for signed maps, else from the smallest value. */
export function limits(values, isSigned) {
  const top = end(values);
  if (isSigned) return top ? [-top, top] : [-1, 1];
  let low = Infinity;
  for (const value of values) if (Number.isFinite(value) && value < low) low = value;
  if (!Number.isFinite(low)) low = top;
  return top > low ? [low, top] : [low, low + 1];
}

/** As `vizkit.draw.overlay.blend`: strong where the map is, the plain photo where it is not. */
export function blend(canvas, photo, values, [low, high], isSigned, alpha, threshold) {
  const colours = isSigned ? DIVERGING : INFERNO;
  const { data, width, height } = photo;
  pixels(canvas, height, width, (out) => {
    for (let i = 0; i < out.length; i++) {
      const known = Number.isFinite(values[i]) ? values[i] : (isSigned ? 0 : low);
      const place = clamp((known - low) / (high - low), 0, 1);
      const strength = isSigned ? Math.abs(2 * place - 1) : place;
      const weight = strength >= threshold ? alpha * strength : 0;
      const colour = colours[Math.min(place * 256 | 0, 255)];
      const mix = (shift, k) => Math.round((1 - weight) * data[4 * i + k] + weight * ((colour >>> shift) & 255));
      out[i] = (0xff000000 | (mix(16, 2) << 16) | (mix(8, 1) << 8) | mix(0, 0)) >>> 0;
    }
  });
}

/** A map at the size of the picture, smoothly; its pixels' centres stay where they are. */
export function enlarge(values, height, width, toHeight, toWidth) {
  if (height === toHeight && width === toWidth) return values;
  const out = new Float32Array(toHeight * toWidth);
  for (let y = 0; y < toHeight; y++) {
    const fy = clamp((y + 0.5) * height / toHeight - 0.5, 0, height - 1), y0 = Math.floor(fy);
    const y1 = Math.min(y0 + 1, height - 1);
    for (let x = 0; x < toWidth; x++) {
      const fx = clamp((x + 0.5) * width / toWidth - 0.5, 0, width - 1), x0 = Math.floor(fx);
      const x1 = Math.min(x0 + 1, width - 1), dx = fx - x0;
      const top = values[y0 * width + x0] * (1 - dx) + values[y0 * width + x1] * dx;
      const bottom = values[y1 * width + x0] * (1 - dx) + values[y1 * width + x1] * dx;
      out[y * toWidth + x] = top + (fy - y0) * (bottom - top);
    }
  }
  return out;
}

/** A small array with its numbers in it, as large squares; `mark` is a place with a frame. */
export function figures(canvas, values, height, width, high, { diverging = true, mark = null, write }) {
  const side = clamp(Math.floor(200 / Math.max(height, width)), 26, 48);
  const scale = globalThis.devicePixelRatio || 1;
  canvas.width = width * side * scale;
  canvas.height = height * side * scale;
  canvas.style.width = `${width * side}px`;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.font = `${clamp(side / 4, 8, 12)}px system-ui, sans-serif`;
  for (let i = 0; i < values.length; i++) {
    const y = Math.floor(i / width) * side, x = (i % width) * side;
    const place = diverging ? 0.5 + values[i] / (2 * (high || 1)) : values[i] / (high || 1);
    const colour = (diverging ? DIVERGING : VIRIDIS)[clamp(place * 255.999, 0, 255) | 0];
    const [r, g, b] = [colour & 255, (colour >>> 8) & 255, (colour >>> 16) & 255];
    context.fillStyle = `rgb(${r} ${g} ${b})`;
    context.fillRect(x, y, side, side);
    context.fillStyle = 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#11141a" : "#ffffff";
    context.fillText(write(values[i]), x + side / 2, y + side / 2);
  }
  if (mark === null) return;
  context.lineWidth = 3;
  context.strokeStyle = "#e2832b";
  context.strokeRect(mark[1] * side + 1.5, mark[0] * side + 1.5, side - 3, side - 3);
}

/** A picture of bytes, three a pixel. */
export function rgb(canvas, values, height, width) {
  pixels(canvas, height, width, (out) => {
    for (let i = 0; i < out.length; i++) out[i] = (0xff000000 | (values[3 * i + 2] << 16) | (values[3 * i + 1] << 8) | values[3 * i]) >>> 0;
  });
}
