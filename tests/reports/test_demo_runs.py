"""``vizkit demo`` when things go wrong: folders of somebody else's, techniques that fail, bugs."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import pytest
from conftest import BOTH, INSTALLED
from PIL import Image
from test_demo import SMALL

import vizkit
from vizkit import cli, demo
from vizkit import page as pages
from vizkit.errors import MapWarning, SettingError
from vizkit.reports.demo import chapters
from vizkit.reports.demo.run import GENERATOR, Run


@pytest.mark.quick
@pytest.mark.parametrize("name", ["notes.txt", "index.html", "photo.png", "folder"])
def test_other_files_are_never_written_over(tmp_path: Path, name: str) -> None:
    if name == "folder":
        (tmp_path / name).mkdir()
    elif name.endswith(".png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    else:
        (tmp_path / name).write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(SettingError, match=f"holds '{name}', which `vizkit demo` did not write"):
        demo.make(out=tmp_path, scale=SMALL)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.quick
def test_out_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SettingError, match="is a file"):
        demo.make(out=tmp_path / "out", scale=SMALL)


def run_of(scale: demo.Scale = SMALL) -> Run:
    """A run in every installed backend."""
    models = [vizkit.load("shapes", backend=name) for name in sorted(INSTALLED, reverse=True)]
    return Run(models, demo.subjects.of_shapes(models, 0, scale), 0, lambda note: None)


def test_failures_are_told_in_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of()
    last = run.models[-1].backend
    real = vizkit.saliency

    def fails_in_one(model: Any, *arguments: Any, **options: Any) -> Any:
        if model.backend == last:
            raise SettingError("out of <luck>")
        warnings.warn("a blank map", MapWarning, stacklevel=1)
        return real(model, *arguments, **options)

    monkeypatch.setattr("vizkit.techniques.saliency", fails_in_one)
    done = run.finish("saliency", "Saliency", chapters.saliency)
    assert f"{last}: out of <luck>" in done.notes
    assert bool(done.pictures) == BOTH
    assert any("a blank map" in note for note in done.notes) == BOTH
    text = pages.render("t", "l", [], [done], "c", generator=GENERATOR)
    assert '<p class="note" role="note">' in text
    assert "out of &lt;luck&gt;" in text
    following = run.finish("gradcam", "Grad-CAM", chapters.gradcam)
    assert following.pictures
    assert not following.notes


def test_bugs_and_other_warnings_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: Any, **__: Any) -> Any:
        warnings.warn("something else", UserWarning, stacklevel=1)
        raise ZeroDivisionError

    monkeypatch.setattr("vizkit.techniques.saliency", bug)
    with pytest.raises(ZeroDivisionError):
        run_of().finish("saliency", "Saliency", chapters.saliency)


@pytest.mark.quick
def test_command_and_function_agree() -> None:
    function = inspect.signature(demo.make).parameters
    command = inspect.signature(cli.pages.demo).parameters
    for name in ("photo", "model", "backend", "weights", "seed"):
        assert command[name].default == function[name].default, name
    assert str(command["out"].default) == function["out"].default == demo.FOLDER
