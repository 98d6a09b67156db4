"""A page in a real browser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


PROBE = """<script>addEventListener("load", () => {
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  const wide = [...document.querySelectorAll("body *")].filter((one) => !one.closest(".scroller, pre, dialog, .skip")
    && one.getBoundingClientRect().right > innerWidth + 0.5).map((one) => one.outerHTML.slice(0, 80));
  const broken = [...document.images].filter((one) => !one.complete || !one.naturalWidth).length;
  const link = document.querySelector("a.zoom"), dialog = document.querySelector("dialog");
  link.click();
  const key = (name) => dialog.querySelector("button").dispatchEvent(
    new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
  const opened = dialog.open, first = dialog.querySelector("img").alt;
  key("ArrowRight");
  const second = dialog.querySelector("img").alt;
  dialog.close();
  parent.postMessage({ inner: innerWidth, scroll: document.documentElement.scrollWidth, wide, broken, opened,
    moved: first !== second, pictures: document.querySelectorAll("main img").length }, "*");
});</script></body>"""


FRAME = """<!DOCTYPE html><title>frame</title>
<iframe src="probe.html" width="390" height="844" frameborder="0"></iframe>
<pre id="found"></pre><script>addEventListener("message", (event) => {
  document.getElementById("found").textContent = JSON.stringify(event.data); });</script>"""


def browse(url: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A page in headless Chromium: its DOM on the output, its console on the error stream."""
    quiet = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    command = [str(CHROMIUM), "--headless", "--no-sandbox", *quiet.split(), "--disable-sync", "--enable-logging=stderr"]
    command += ["--v=0", f"--user-data-dir={folder / 'profile'}", *options, "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)
