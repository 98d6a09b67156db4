"""What is checked in every command before anything is loaded or computed: files that are read, files and folders that
are written, and words of which there are few."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from ..contract import backend
from ..contract.errors import ImageError, SettingError, WeightsError, unknown
from ..inputs import images
from ..reports.explain import controls, methods
from ..support.crew import check as check_crew
from ..techniques.dreams.recipe import GRADIENT_FILTERS
from ..zoo import loading as api
from ..zoo import own

FIGURE = (".png", ".pdf", ".svg", ".npz")
FOLDER = ""
"""In place of a suffix: a folder may be given."""
OUT: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("demo", "homework", "compare", "gallery"), (FOLDER,)),
    **dict.fromkeys(("saliency", "gradcam", "explain", "features", "unit", "embed"), (*FIGURE, FOLDER)),
    "atlas": (".html", *FIGURE),
    "dream": (*FIGURE, ".gif", ".mp4"),
    "evaluate": (*FIGURE, ".csv", ".txt"),
    "diagram": (".svg", ".png", ".pdf", ".html"),
    "convert": (".safetensors", ".pth", ".params"),
}
"""What ``--out`` may end in; other commands draw a figure."""
FILES = {
    "csv": ".csv", "json_file": ".json", "save_npz": ".npz", "state": FOLDER, "checkpoint": ".npz", "notebook": ".ipynb"
}  # fmt: skip
"""Options that name a file to be written, and its suffix, or a folder."""
NAMES_ALONE = ("demo", "compare", "convert")
"""Commands that no FILE.py:NAME goes with: what they make is resumed, judged or converted by a network's name."""
READ = ("photo", "photos", "images", "study", "file")
WEIGHTS = (".safetensors", ".pth", ".params")


class Checked(TyperCommand):
    """A command whose arguments are looked at before it runs."""

    def invoke(self, ctx: Any) -> Any:
        given: Mapping[str, Any] = ctx.params
        for name, one in _each(given, READ):
            if not Path(one).exists():
                what = "file" if name in ("study", "file") else "image"
                raise ImageError(f"There is no {what} '{one}'. Check the path; nothing was loaded.")
        for _, one in _each(given, ("model",)):
            users = own.of(one)
            if users is not None and self.name in NAMES_ALONE:
                raise SettingError(f"--model {one}: {self.name} takes names from `vizkit models` alone.")
            if users is not None:
                users.check()
        for _, one in _each(given, ("weights",)):
            file = one.split("=", 1)[-1]
            if file.endswith(WEIGHTS) and not Path(file).is_file():
                raise WeightsError(f"There is no weights file '{file}'. Check the path; nothing was loaded.")
        for name, suffix in FILES.items():
            if given.get(name) is not None:
                writable(Path(given[name]), (suffix,), f"--{name.removesuffix('_file').replace('_', '-')}")
        check_crew(given.get("workers"), given.get("scheduler"))
        if "out" in given:
            writable(
                Path(given["out"] or "."), OUT.get(self.name or "", FIGURE) if given["out"] else (FOLDER,), "--out"
            )
        for name in given:
            for _, one in _each(given, (name,)):
                choices = _choices(self.name or "", name)
                if choices and one not in choices:
                    raise unknown("colour map" if name == "cmap" else name.replace("_", "-"), one, choices)
        return super().invoke(ctx)


def _each(given: Mapping[str, Any], names: Iterable[str]) -> list[tuple[str, str]]:
    """The values of options as text, one by one, of those that were given."""
    found = [(name, given.get(name)) for name in names]
    several = [(name, one if isinstance(one, list | tuple) else [one]) for name, one in found if one is not None]
    return [(name, str(one)) for name, values in several for one in values]


def writable(path: Path, suffixes: Sequence[str], option: str) -> None:
    """Raise SettingError where a file, or a folder, cannot come to lie at ``path``."""
    folder = FOLDER in suffixes and (len(suffixes) == 1 or not path.suffix or path.is_dir())
    if not folder and path.suffix not in suffixes:
        listed = ", ".join(one for one in suffixes if one)
        or_folder = ", or a folder without suffix" if FOLDER in suffixes else ""
        raise SettingError(f"{option} {path}: the file must end in {listed}{or_folder}.")
    if path.exists() and path.is_dir() != folder:
        what = "a file; give a folder" if folder else "a folder; give a file"
        raise SettingError(f"{option} {path} is {what}.")
    if path.suffix == ".mp4" and util.find_spec("imageio_ffmpeg") is None:
        raise SettingError(
            f"{option} {path}: an .mp4 needs imageio-ffmpeg (pip install 'vizkit[video]'), a .gif nothing."
        )
    above = path if folder else path.parent
    while folder and not above.exists() and above != above.parent:
        above = above.parent
    if above.is_file():
        raise SettingError(f"{option} {path}: '{above}' is a file, not a folder. Give another name.")
    if not above.is_dir():
        raise SettingError(f"{option} {path}: the folder '{above}' does not exist. Make it first, or give another.")
    if not os.access(above, os.W_OK):
        raise SettingError(f"{option} {path}: the folder '{above}' cannot be written to. Give another.")


WORDS: Mapping[tuple[str, str], Sequence[str]] = {
    ("saliency", "mode"): ("inference", "published"),
    ("explain", "scale"): ("each", "common"),
    ("features", "scale"): ("each", "common"),
    ("gradcam", "on"): ("network", "original"),
    ("embed", "method"): ("tsne", "umap", "pca"),
    ("atlas", "method"): ("tsne", "umap", "pca"),
    ("embed", "pool"): ("mean", "max", "none"),
    ("diagram", "style"): ("auto", "volumes", "flow"),
    ("homework", "language"): ("en", "zh"),
    ("convert", "stride"): ("1x1", "3x3"),
}
"""By command and option."""


def _choices(command: str, option: str) -> Sequence[str]:
    """The words of an option that has few; none where it takes anything."""
    if option == "cmap":
        from ..draw.overlay import colour_maps

        return colour_maps()
    if option == "method" and command in ("explain", "evaluate"):
        return ["all", *methods(), *controls()]
    if command == "dream" and option in ("recipe", "gradient_filter"):
        from .dreams import PUBLISHED, RECIPES

        return (*RECIPES, PUBLISHED) if option == "recipe" else list(GRADIENT_FILTERS)
    shared = {"fit": images.FITS, "input_range": images.RANGES, "backend": backend.registered(), "dtype": api.DTYPES}
    return list(shared.get(option, WORDS.get((command, option), ())))
