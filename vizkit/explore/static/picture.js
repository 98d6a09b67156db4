// The picture: the bundled one, a folder's, an upload, a camera's frame.

import { exported, hasPicture, json, latest, pictureAddress, upload } from "./api.js";
import { announce, button, byId, el, rove } from "./dom.js";
import { openDialog } from "./dialog.js";
import { t } from "./i18n.js";
import { session } from "./session.js";
import { onChange, set, view } from "./state.js";

const photos = new Map();
const KEPT = 8;
let pictures = [], next = null;

/** The pixels of a picture as the network sees it. */
export function photo(id) {
  if (!photos.has(id)) {
    const image = new Image();
    const found = Promise.resolve(id).then(pictureAddress).then((from) => { image.src = from; return image.decode(); }).then(() => {
      const canvas = el("canvas", { width: image.naturalWidth, height: image.naturalHeight });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      return context.getImageData(0, 0, canvas.width, canvas.height);
    });
    found.catch(() => photos.delete(id));
    photos.set(id, found);
    if (photos.size > KEPT) photos.delete(photos.keys().next().value);
  }
  return photos.get(id);
}

const nameOf = (id) => pictures.find((one) => one.id === id)?.name ?? id ?? "";

async function show() {
  const signal = latest("photo"), id = view.picture;
  try {
    const pixels = await photo(id);
    if (signal.aborted) return;
    const canvas = byId("photo");
    canvas.width = pixels.width;
    canvas.height = pixels.height;
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    canvas.setAttribute("aria-label", t("pictureNow", { name: nameOf(id), width: pixels.width, height: pixels.height }));
    byId("stage").querySelector(".problem")?.remove();
  } catch (error) {
    if (!signal.aborted) byId("stage").append(el("p", { class: "problem", text: error.message }));
  }
}

function list() {
  const place = byId("gallery");
  place.setAttribute("aria-label", t("gallery"));
  place.hidden = pictures.length < 2;
  const options = pictures.map((one) => el("div", {
    role: "option", class: "option", title: one.name, "aria-label": one.name, data: { id: one.id },
    "aria-selected": String(one.id === view.picture), tabindex: one.id === view.picture ? "0" : "-1",
    on: { click: () => set({ picture: one.id }, true) },
  }, el("img", { src: pictureAddress(one.id), alt: "", loading: "lazy" })));
  if (!options.some((one) => one.tabIndex === 0) && options[0]) options[0].tabIndex = 0;
  place.replaceChildren(...options);
  byId("more-pictures")?.remove();
  if (next !== null) byId("sources").append(button(t("more"), more, { id: "more-pictures" }));
}

function mark() {
  for (const one of byId("gallery").children) {
    const chosen = one.dataset.id === view.picture;
    one.setAttribute("aria-selected", String(chosen));
    one.tabIndex = chosen ? 0 : -1;
    if (chosen) one.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

async function more() {
  try {
    const answer = await json("pictures", { from: next, count: 100 });
    const known = new Set(pictures.map((one) => one.id));
    pictures.push(...answer.pictures.filter((one) => !known.has(one.id)));
    next = answer.next ?? null;
    list();
  } catch (error) { announce(error.message); }
}

async function take(blob, name) {
  try {
    const found = await upload(blob, name);
    if (!pictures.some((one) => one.id === found.id)) pictures.unshift({ mask: false, ...found });
    list();
    set({ picture: found.id }, true);
  } catch (error) {
    byId("stage").querySelector(".problem")?.remove();
    byId("stage").append(el("p", { class: "problem", role: "alert", text: error.message }));
  }
}

async function camera() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch (error) {
    openDialog(t("camera"), el("p", { text: t("cameraRefused", { error: error.message }) }));
    return;
  }
  const video = el("video", { muted: true, playsInline: true, "aria-label": t("camera") });
  video.srcObject = stream;
  const stop = () => stream.getTracks().forEach((one) => one.stop());
  const shoot = button(t("take"), () => {
    const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => take(blob, "camera.png"), "image/png");
    close();
  }, { disabled: true });
  video.addEventListener("loadeddata", () => { shoot.disabled = false; });  // before, there is nothing to take
  const close = openDialog(t("camera"), el("div", {}, video, shoot), stop);
  await video.play().catch(() => {});  // closed before it began
}

export function startPicture() {
  pictures = session.pictures.filter((one) => hasPicture(one.id));
  next = exported ? null : session.next ?? null;
  list();
  show();
  byId("sources").hidden = exported;
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) take(file, file.name);
    event.target.value = "";
  });
  byId("camera").addEventListener("click", camera);
  const column = byId("seen");
  column.addEventListener("dragover", (event) => { event.preventDefault(); column.classList.add("over"); });
  column.addEventListener("dragleave", () => column.classList.remove("over"));
  column.addEventListener("drop", (event) => {
    event.preventDefault();
    column.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file && !exported) take(file, file.name);
  });
  byId("gallery").addEventListener("keydown", (event) => {
    const nodes = [...event.currentTarget.children], at = nodes.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (at < 0) return;
    if (step) rove(nodes, nodes[(at + step + nodes.length) % nodes.length]);
    else if (event.key === "Enter" || event.key === " ") nodes[at].click();
    else return;
    event.preventDefault();
  });
  onChange((changed) => {
    if (changed.has("lang")) list();
    if (changed.has("picture")) { show(); mark(); }
  });
}
