"""A network's page in a real browser: silent, narrow enough for a phone, its blocks open and close."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from conftest import INSTALLED
from kits import blank
from kits.browser import CHROMIUM, FRAME, browse

from vizkit.network.diagram import diagram

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome, which is not installed here")
PROBE = """<script>addEventListener("load", () => {
  const blocks = [...document.querySelectorAll("ol details")], open = () => blocks.filter((one) => one.open).length;
  const counts = [open()];
  for (const id of ["open", "close"]) { document.getElementById(id).click(); counts.push(open()); }
  const first = document.querySelector("details.block > summary");
  first.focus();
  const focused = document.activeElement === first;
  first.click();
  counts.push(open());
  const drawn = document.querySelector("details.block svg").getBoundingClientRect().height;
  first.click();
  counts.push(open());
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  const wide = [...document.querySelectorAll("main *")].filter((one) => !one.closest(".scroller, pre")
    && one.getBoundingClientRect().right > innerWidth + 0.5).map((one) => one.outerHTML.slice(0, 80));
  parent.postMessage({ counts, focused, drawn, wide, blocks: blocks.length }, "*");
});</script></body>"""


def test_blocks_open_and_close_on_a_phone_without_a_console_message(tmp_path: Path) -> None:
    model = blank.load("resnet50", INSTALLED[0])
    page = diagram(model).save(tmp_path / "net.html")
    (tmp_path / "probe.html").write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME, encoding="utf-8")
    done = browse((tmp_path / "frame.html").as_uri(), tmp_path, "--virtual-time-budget=10000")
    said = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert said, done.stderr
    found = json.loads(unescape(said[1]))
    assert found["blocks"] == 20
    assert found["counts"] == [0, 20, 0, 1, 0]
    assert found["focused"]
    assert found["drawn"] > 100
    assert found["wide"] == []
    assert "CONSOLE" not in done.stderr, done.stderr
