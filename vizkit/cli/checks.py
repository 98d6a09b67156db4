"""What is checked in every command before anything is loaded or computed: files that are read, files and folders that
are written, and words of which there are few."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from ..contract.errors import ImageError, SettingError, WeightsError, unknown

FIGURE = (".png", ".pdf", ".svg", ".npz")
FOLDER = ""
"""In place of a suffix: a folder may be given."""
OUT: Mapping[str, tuple[str, ...]] = {
    "demo": (FOLDER,),
    "homework": (FOLDER,),
    "compare": (FOLDER,),
    "gallery": (FOLDER,),
    "saliency": (*FIGURE, FOLDER),
    "gradcam": (*FIGURE, FOLDER),
    "explain": (*FIGURE, FOLDER),
    "features": (*FIGURE, FOLDER),
    "unit": (*FIGURE, FOLDER),
    "embed": (*FIGURE, FOLDER),
    "dream": (*FIGURE, ".gif", ".mp4"),
    "evaluate": (*FIGURE, ".csv", ".txt"),
    "diagram": (".svg", ".png", ".pdf", ".html"),
    "convert": (".safetensors", ".pth", ".params"),
}
"""What ``--out`` may end in; other commands draw a figure."""
FILES = {"csv": ".csv", "json_file": ".json", "save_npz": ".npz", "state": ".npz", "checkpoint": ".npz"} | {
    "notebook": ".ipynb"
}
"""Options that name a file to be written, and its suffix."""
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
        for _, one in _each(given, ("weights",)):
            file = one.split("=", 1)[-1]
            if file.endswith(WEIGHTS) and not Path(file).is_file():
                raise WeightsError(f"There is no weights file '{file}'. Check the path; nothing was loaded.")
        for name, suffix in FILES.items():
            if given.get(name) is not None:
                writable(Path(given[name]), (suffix,), f"--{name.removesuffix('_file').replace('_', '-')}")
        if "out" in given:
            writable(
                Path(given["out"] or "."), OUT.get(self.name or "", FIGURE) if given["out"] else (FOLDER,), "--out"
            )
        for name, known in _words(self.name or "").items():
            for _, one in _each(given, (name,)):
                choices = known()
                if one not in choices:
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
    if not above.is_dir():
        raise SettingError(f"{option} {path}: the folder '{above}' does not exist. Make it first, or give another.")
    if not os.access(above, os.W_OK):
        raise SettingError(f"{option} {path}: the folder '{above}' cannot be written to. Give another.")


def _words(command: str) -> dict[str, Callable[[], Sequence[str]]]:
    """Options with few values, by name; what they may be is looked up when they are given."""
    from ..inputs.images import FITS, RANGES

    words: dict[str, Callable[[], Sequence[str]]] = {
        "fit": lambda: FITS,
        "input_range": lambda: RANGES,
        "backend": lambda: list(_registered()),
        "dtype": lambda: _api().DTYPES,
        "cmap": _colours,
    }
    own: dict[str, dict[str, Callable[[], Sequence[str]]]] = {
        "saliency": {"mode": lambda: ("inference", "published")},
        "explain": {"scale": lambda: ("each", "common"), "method": _methods},
        "evaluate": {"method": _methods},
        "gradcam": {"on": lambda: ("network", "original")},
        "features": {"scale": lambda: ("each", "common")},
        "dream": {"recipe": _recipes, "gradient_filter": _filters},
        "embed": {"method": lambda: ("tsne", "umap", "pca"), "pool": lambda: ("mean", "max", "none")},
        "diagram": {"style": lambda: ("auto", "volumes", "flow")},
        "homework": {"language": lambda: ("en", "zh")},
        "convert": {"stride": lambda: ("1x1", "3x3")},
    }
    return words | own.get(command, {})


def _registered() -> Iterable[str]:
    from ..contract.backend import registered

    return registered()


def _api() -> Any:
    from ..zoo import loading as api

    return api


def _colours() -> Sequence[str]:
    from matplotlib import colormaps

    return list(colormaps)


def _methods() -> Sequence[str]:
    from ..reports.explain import controls, methods

    return ["all", *methods(), *controls()]


def _recipes() -> Sequence[str]:
    from .rendered import PUBLISHED, RECIPES

    return (*RECIPES, PUBLISHED)


def _filters() -> Sequence[str]:
    from ..techniques.dreams.recipe import GRADIENT_FILTERS

    return list(GRADIENT_FILTERS)
