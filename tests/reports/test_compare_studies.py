"""The committed studies: their numbers agree with each other, they name no folder, and a browser shows them."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from kits import recompute
from kits.browser import CHROMIUM, FRAME, PROBE, browse

import vizkit
from vizkit.reports.compare import plan

STUDIES = sorted((Path(__file__).resolve().parents[2] / "benchmarks" / "studies").glob("*/results.json"))
LARGEST = 2 << 20
"""Bytes of a page that is small enough to be committed."""


@pytest.fixture(params=STUDIES, ids=lambda path: path.parent.name)
def folder(request: pytest.FixtureRequest) -> Path:
    """Each committed study."""
    return Path(request.param.parent)


@pytest.mark.quick
def test_there_is_one() -> None:
    assert STUDIES


@pytest.mark.quick
def test_its_numbers_agree_with_each_other(folder: Path) -> None:
    report = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert recompute.table(folder, report) > 1000
    recompute.derived(report)
    assert report["failures"] == []
    assert report["study"]["judge"]
    assert len({one["weights_sha256"] for one in report["cells"] if one["model"] == report["study"]["model"][0]}) == 1


@pytest.mark.quick
def test_it_can_be_handed_on(folder: Path) -> None:
    for name in ("index.html", "results.json", "results.csv", "study.toml"):
        text = re.sub(r"base64,[^\"]*", "", (folder / name).read_text(encoding="utf-8"))
        assert not re.search(r"(?<![\w.])/(?:work|home|tmp|root|Users)/", text), name
    assert (folder / "index.html").stat().st_size < LARGEST
    report = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    stated = plan.read(folder / "study.toml")
    assert stated["model"] == report["study"]["model"]
    assert [Path(name).name for name in stated["image"]] == report["study"]["image"]
    for picture in folder.glob("*.png"):
        assert vizkit.results.read_provenance(picture)["page"] == "vizkit compare"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome, which is not installed here")
def test_a_phone_shows_it_without_scrolling_sideways(folder: Path, tmp_path: Path) -> None:
    page = (folder / "index.html").read_text(encoding="utf-8")
    (tmp_path / "probe.html").write_text(page.replace("</body>", PROBE), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME, encoding="utf-8")
    done = browse((tmp_path / "frame.html").as_uri(), tmp_path, "--virtual-time-budget=10000")
    said = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert said, done.stderr
    found = json.loads(unescape(said[1]))
    assert found["wide"] == []
    assert found["scroll"] <= found["inner"] == 390
    assert found["broken"] == 0
    assert found["pictures"] == len(list(folder.glob("*.png")))
    assert "CONSOLE" not in done.stderr, done.stderr
