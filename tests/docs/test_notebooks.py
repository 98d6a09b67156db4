"""The notebooks of the documentation: each runs from top to bottom, and what is stored is fit to be read."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BOTH, INSTALLED
from PIL import Image

from benchmarks import notebooks
from vizkit.results.files import PROVENANCE

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbformat, nbclient and ipykernel")
nbclient = pytest.importorskip("nbclient", reason="notebooks need nbformat, nbclient and ipykernel")
pytest.importorskip("ipykernel", reason="notebooks need nbformat, nbclient and ipykernel")

NAMES = ("comparing_backends", "feature_visualisation", "homework", "judging_maps", "own_network")
ONE_BACKEND = ("feature_visualisation", "judging_maps")
"""Notebooks that run with either backend; the others compare the two."""
LARGEST = 1_500_000


@pytest.fixture(params=NAMES)
def path(request: pytest.FixtureRequest) -> Path:
    """Each notebook."""
    return notebooks.FOLDER / f"{request.param}.ipynb"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel's own folder of temporary files."""
    return tmp_path_factory.mktemp("kernel")


@pytest.fixture(scope="module")
def kernel(left: Path) -> Iterator[Any]:
    """One for all, cleared before each notebook, since each would import both frameworks anew."""
    with ExitStack() as blocks:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", str(left))
            patch.setenv("OMP_NUM_THREADS", "1")  # more would wait for the other process of the tests
            started = blocks.enter_context(notebooks.kernel())
        yield started


def stored(path: Path) -> Any:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    return book


def outputs(book: Any) -> list[Any]:
    return [one for cell in book.cells if cell.cell_type == "code" for one in cell.outputs]


def pictures(book: Any) -> list[bytes]:
    found = [one.get("data", {}).get("image/png") for one in outputs(book)]
    return [base64.b64decode(one) for one in found if one]


def test_these_are_all() -> None:
    assert tuple(path.stem for path in notebooks.paths()) == NAMES
    with pytest.raises(ValueError, match="There is no notebook 'homewrok'; there are comparing_backends"):
        notebooks.paths(["homewrok"])


def test_what_they_name_is_there() -> None:
    """With vizkit alone imported, as in a kernel of its own: no notebook lives on what another has imported."""
    sources = [cell.source for path in notebooks.paths() for cell in stored(path).cells if cell.cell_type == "code"]
    named = sorted({name for source in sources for name in re.findall(r"(?<![\w.])vizkit\.([\w.]*\w)", source)})
    assert len(named) > 20
    code = f"import operator, vizkit\noperator.attrgetter(*{named})(vizkit)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_it_runs(path: Path, kernel: Any, left: Path) -> None:
    """Its asserts hold, it shows as many pictures as are stored, warns of nothing and leaves no file."""
    if not BOTH and path.stem not in ONE_BACKEND:
        pytest.skip(f"compares both backends; installed here: {INSTALLED}")
    before = path.read_bytes()
    book = notebooks.executed(path, kernel)
    assert sum("assert " in cell.source for cell in book.cells if cell.cell_type == "code") >= 3
    assert len(pictures(book)) == len(pictures(stored(path)))
    assert not [one.text for one in outputs(book) if one.get("name") == "stderr"]
    assert path.read_bytes() == before
    assert not [one for one in left.rglob("*") if one.suffix in (".png", ".npz", ".safetensors", ".params", ".pth")]


def test_what_is_stored_is_fit_to_be_read(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    text = path.read_text(encoding="utf-8")
    here = "|".join(re.escape(one) for one in (os.path.expanduser("~"), str(Path(__file__).resolve().parents[2])))
    assert not re.search(rf"(?<![\w.:/])(/tmp|/home|/usr|/root|{here})/|[A-Z]:\\\\", text)
    book = stored(path)
    assert outputs(book)
    for one in outputs(book):
        assert one.output_type != "error"
        assert one.get("name") != "stderr"
        assert one.get("execution_count") is None
    for number, cell in enumerate(book.cells):
        assert cell["id"] == f"cell-{number}"
        assert cell.get("execution_count") is None
        assert not cell.metadata


def test_its_pictures_are_there(path: Path) -> None:
    """None is blank; those of results say how they were made."""
    found = pictures(stored(path))
    assert len(found) >= 2
    said = 0
    for one in found:
        with Image.open(io.BytesIO(one)) as picture:
            assert min(picture.size) >= 90
            assert np.asarray(picture.convert("L")).std() > 5
            said += PROVENANCE in picture.info
    assert said


def test_it_is_tidy(path: Path) -> None:
    """Storing it once more changes nothing."""
    text = path.read_bytes()
    assert nbformat.writes(notebooks.tidied(stored(path))).rstrip("\n").encode() + b"\n" == text


def test_a_failing_notebook_is_told(
    kernel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checked in the kernel of the others, which leave it no name; then written from one of its own."""
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell("print('one', end=' ')\nprint('two')\nmine = 3")]
    good, bad = tmp_path / "good.ipynb", tmp_path / "bad.ipynb"
    nbformat.write(book, good)
    book.cells = [nbformat.v4.new_code_cell("assert 1 + 1 == 2"), nbformat.v4.new_code_cell("mine + 1")]
    nbformat.write(book, bad)
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    before = good.read_bytes(), bad.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(notebooks, "executed", partial(notebooks.executed, shared=kernel))
        assert notebooks.main(["--check", "good", "bad"]) == 1
    said = capsys.readouterr().out
    assert "good: " in said
    assert "bad: FAILED" in said
    assert "name 'mine' is not defined" in said
    assert "Failed: bad." in said
    assert (good.read_bytes(), bad.read_bytes()) == before
    assert notebooks.main(["good"]) == 0
    assert [one.text for one in outputs(stored(good))] == ["one two\n"]
    assert notebooks.main(["absent"]) == 2
