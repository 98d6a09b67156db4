"""What result files say of how they were made, and what a full disk makes of them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from vizkit.errors import SettingError
from vizkit.results import animation
from vizkit.results.files import FIGURE_SUFFIXES, read_provenance, save_figure
from vizkit.support.files import LONG, write_npz, write_text

MADE = {"technique": "saliency", "images": [{"name": "a (1) \\ \n</x> ü&.png"}], "steps": 3}


@pytest.mark.quick
@pytest.mark.parametrize("suffix", FIGURE_SUFFIXES)
def test_every_figure_says_how_it_was_made(suffix: str, tmp_path: Path) -> None:
    figure = Figure(figsize=(1, 1))
    figure.text(0.1, 0.1, "(/Keywords \\)")
    save_figure(figure, tmp_path / f"a{suffix}", MADE)
    assert read_provenance(tmp_path / f"a{suffix}") == MADE


@pytest.mark.quick
@pytest.mark.parametrize("suffix", [*FIGURE_SUFFIXES, ".npz", ".txt"])
def test_files_that_do_not_say_it(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{suffix}"
    with pytest.raises(SettingError, match="There is no file"):
        read_provenance(file)
    if suffix in FIGURE_SUFFIXES:
        Figure(figsize=(1, 1)).savefig(file)
        with pytest.raises(SettingError, match="holds no provenance"):
            read_provenance(file)
    for text in ("", "nothing of the kind", "PK\3\4"):
        file.write_text(text)
        with pytest.raises(SettingError, match="holds no provenance"):
            read_provenance(file)


WRITERS: dict[str, Callable[[Path], Any]] = {
    **{suffix: lambda file: save_figure(Figure(figsize=(1, 1)), file, MADE) for suffix in FIGURE_SUFFIXES},
    ".npz": lambda file: write_npz(file, {"a": np.arange(100.0), "b": "text"}),
    ".txt": lambda file: write_text(file, "text" * 100),
    ".gif": lambda file: animation.write([np.zeros((1, 8, 8, 3), np.uint8)] * 2, file, MADE, 5),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_full_disk_is_said_in_a_sentence(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left, and nothing complains when it is collected."""
    resource = pytest.importorskip("resource")
    late: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", late.append)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    said = ""
    try:
        WRITERS[suffix](tmp_path / f"a{suffix}")
    except SettingError as error:
        said = str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    gc.collect()
    assert "cannot be written: File too large" in said
    assert not late
    assert not list(tmp_path.iterdir())


@pytest.mark.quick
def test_an_archive_is_that_of_numpy(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3)[:, ::2], "b": np.float32(2), "c": np.zeros((0, 2), np.int8)}
    for compressed, own in ((False, np.savez), (True, np.savez_compressed)):
        write_npz(tmp_path / "a.npz", arrays | {"d": "text ü"}, compressed=compressed)
        own(tmp_path / "b.npz", **arrays, d=np.array("text ü"))
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.quick
@pytest.mark.parametrize("letter", ["a", "ü"])
def test_a_name_may_be_as_long_as_names_may_be(letter: str, tmp_path: Path) -> None:
    file = tmp_path / (letter * ((255 - 4) // len(letter.encode())) + ".txt")
    assert len(file.name.encode()) > LONG
    write_text(file, "text")
    assert [one.name for one in tmp_path.iterdir()] == [file.name]
