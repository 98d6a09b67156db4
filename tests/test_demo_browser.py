"""``vizkit demo`` in a real browser: silent, narrow enough for a phone, and usable by keyboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from vizkit import demo

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome, which is not installed here")
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


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo of ``shapes`` in every installed backend, with little dreaming: as wide as the full page."""
    scale = demo.Scale(late_steps=2, dream={"stages": 2, "steps": 1})
    return demo.make(out=tmp_path_factory.mktemp("demo") / "page", scale=scale)


def browse(url: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A page in headless Chromium: its DOM on the output, its console on the error stream."""
    quiet = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    command = [str(CHROMIUM), "--headless", "--no-sandbox", *quiet.split(), "--disable-sync", "--enable-logging=stderr"]
    command += ["--v=0", f"--user-data-dir={folder / 'profile'}", *options, "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_browser_opens_it_without_a_console_message(index: Path, tmp_path: Path) -> None:
    done = browse(index.as_uri(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "</html>" in done.stdout
    assert "CONSOLE" not in done.stderr, done.stderr
    broken = tmp_path / "broken.html"
    broken.write_text("<script>absent()</script>")
    assert "CONSOLE" in browse(broken.as_uri(), tmp_path).stderr, "this check sees no console errors"


def test_phone_shows_it_without_scrolling_sideways(index: Path, tmp_path: Path) -> None:
    """In a frame 390 pixels wide, with all details open; enlarging and the arrow keys work."""
    (tmp_path / "probe.html").write_text(index.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME, encoding="utf-8")
    done = browse((tmp_path / "frame.html").as_uri(), tmp_path, "--virtual-time-budget=10000")
    said = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert said, done.stderr
    found = json.loads(unescape(said[1]))
    assert found["inner"] == 390
    assert found["scroll"] <= 390, found["wide"]
    assert found["wide"] == []
    assert found["broken"] == 0
    assert found["opened"]
    assert found["moved"]
    assert found["pictures"] == 12
    assert "CONSOLE" not in done.stderr, done.stderr
