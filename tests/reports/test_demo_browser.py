"""``vizkit demo`` in a real browser: silent, narrow enough for a phone, and usable by keyboard."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from kits.browser import CHROMIUM, FRAME, PROBE, browse

from vizkit import demo

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome, which is not installed here")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo of ``shapes`` in every installed backend, with little dreaming: as wide as the full page."""
    scale = demo.Scale(late_steps=2, dream={"stages": 2, "steps": 1})
    return demo.make(out=tmp_path_factory.mktemp("demo") / "page", scale=scale)


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
