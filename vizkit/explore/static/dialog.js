// The one dialog of the page.

import { byId } from "./dom.js";

let leave = null;

/** Shows `body`; `closed` is called when it goes. Returns a function that closes it. */
export function openDialog(title, body, closed = null) {
  const dialog = byId("dialog");
  if (dialog.open) dialog.close();
  byId("dialog-title").textContent = title;
  byId("dialog-body").replaceChildren(body);
  leave = closed;
  dialog.showModal();
  return () => dialog.close();
}

export function startDialog() {
  const dialog = byId("dialog");
  dialog.addEventListener("close", () => {
    leave?.();
    leave = null;
    byId("dialog-body").replaceChildren();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
