"""The page of an atlas: one file with everything inside, its data, what it replaces, and the command."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, call
from kits.browser import CHROMIUM, browse
from PIL import Image

import vizkit
from vizkit.draw import concepts
from vizkit.errors import SettingError
from vizkit.reports.atlas import write
from vizkit.zoo import shapes

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def found() -> Any:
    model = vizkit.load("shapes", backend=INSTALLED[0])
    pictures = list(shapes.sample(16, seed=1).images)
    return vizkit.activation_atlas(model, pictures, "features.16", method="pca", grid=3, size=16, steps=2)


@pytest.fixture(scope="module")
def page(found: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(found, tmp_path_factory.mktemp("atlas") / "atlas.html")


@pytest.mark.quick
def test_nothing_is_loaded_from_anywhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    loaded = re.findall(r'(?:src|href)="([^"#]*)"|url\(([^)]*)\)|fetch\(|import ', text)
    assert [one for one in loaded if not "".join(one).startswith("data:")] == []


@pytest.mark.quick
def test_the_data_are_the_results(page: Path, found: Any) -> None:
    text = page.read_text(encoding="utf-8")
    (inside,) = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    data = json.loads(inside)
    assert data["cells"] == found.cells.tolist()
    assert data["counts"] == found.counts.tolist()
    assert [[label for label, _ in one] for one in data["classes"]] == [
        [label for label, _ in one] for one in found.classes
    ]
    for k, names in enumerate(data["names"]):
        assert set(names) <= {found.names[place] for place in found.picture[found.cell == k]}
        assert names
    (sheet,) = re.findall(r"data:image/webp;base64,([^\"]*)", text)
    with Image.open(io.BytesIO(base64.b64decode(sheet))) as opened:
        shown = np.asarray(opened.convert("RGB")).astype(int)
    exact = concepts.atlas_canvas(found)
    assert shown.shape == exact.shape == (48, 48, 3)
    assert np.abs(shown - exact).mean() < 16  # the format is lossy


@pytest.mark.quick
def test_the_canvas_holds_each_cell_at_its_place(found: Any) -> None:
    canvas, small, seen = concepts.atlas_canvas(found), found.pictures(), np.zeros((48, 48), bool)
    for (row, column), one in zip(found.cells * 16, small, strict=True):
        assert (canvas[row : row + 16, column : column + 16] == one).all()
        seen[row : row + 16, column : column + 16] = True
    assert (canvas[~seen] == 255).all()


@pytest.mark.quick
def test_the_page_says_how_it_was_made(page: Path, found: Any) -> None:
    from html import unescape

    text = unescape(page.read_text(encoding="utf-8"))
    for name, value in found.provenance["settings"].items():
        assert f"{json.dumps(name)}: {json.dumps(value)}" in text
    assert found.provenance["weights"]["sha256"] in text


@pytest.mark.quick
def test_what_is_replaced_and_what_stays(tmp_path: Path, found: Any) -> None:
    target = tmp_path / "a.html"
    write(found, target)
    write(found, target)
    other = tmp_path / "b.html"
    other.write_text("<html>mine</html>")
    with pytest.raises(SettingError, match="was not written by"):
        write(found, other)
    assert other.read_text() == "<html>mine</html>"
    with pytest.raises(SettingError, match=r"ends in \.html"):
        write(found, tmp_path / "folder")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for k, one in enumerate(shapes.sample(8, seed=1).images):
        Image.fromarray(one).save(pictures / f"{k}.png")
    (pictures / "broken.png").write_bytes(b"no picture")
    small = ["--layer", "features.16", "--grid", "2", "--steps", "2", "--size", "16", "--method", "pca"]
    code, out, err = call(
        capsys, "atlas", "shapes", str(pictures), *small, "-b", INSTALLED[0], "-o", str(tmp_path / "a.html")
    )
    assert code == 0, err
    assert "8 pictures read, 1 skipped" in out
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "broken.png" in text
    assert "vizkit atlas shapes" in text
    code, _, err = call(capsys, "atlas", "shapes", str(pictures), *small, "-o", str(tmp_path / "folder"))
    assert code == 2
    assert ".html" in err
    code, _, err = call(capsys, "atlas", "shapes", str(pictures), "--method", "best", "-o", str(tmp_path / "a.html"))
    assert code == 2
    assert "umap" in err


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_opens_it_without_a_console_message(page: Path, tmp_path: Path) -> None:
    done = browse(page.resolve().as_uri(), tmp_path)
    assert "CONSOLE" not in done.stderr
    assert (
        f"of {len(json.loads(re.findall('json.>(.*?)</script>', page.read_text())[0])['cells'])} cells" in done.stdout
    )
