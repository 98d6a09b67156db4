"""The homework as a runnable notebook (nbformat 4)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...contract.backend import AS_GIVEN, Model
from ...contract.errors import SettingError
from ...support.files import write_text
from ...support.version import VERSION
from ..page import Chapter
from .run import CORRECT, FIT, GENERATOR, PUBLISHED, Run


def check(path: Path) -> Path:
    """The path, absolute, when a notebook may be written there. Raises SettingError."""
    if path.suffix != ".ipynb":
        raise SettingError(f"The notebook '{path}' must end in .ipynb.")
    if not path.absolute().parent.is_dir():
        raise SettingError(f"The folder of the notebook '{path}' does not exist.")
    if path.exists() and not _own(path):
        raise SettingError(f"'{path}' exists and was not written by `{GENERATOR}`; give another name with --notebook.")
    return path.absolute()


def _own(path: Path) -> bool:
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    about = found.get("metadata") if isinstance(found, dict) else None
    return isinstance(about, dict) and str(about.get("generator", "")).startswith(GENERATOR)


def recipes(models: Mapping[str, Model], folder: Path) -> dict[str, str]:
    """The Python call that loads each network. Raises SettingError for one that nothing loads again."""
    found = {}
    for role, model in models.items():
        source = model.weights.source
        if source == AS_GIVEN:
            raise SettingError(f"The network {model.name} is of the user's own making, so no notebook can load it.")
        if model.weights.file and Path(model.weights.file).name == Path(source).name:
            source = relative(Path(model.weights.file), folder)
        options = {"backend": model.backend, "weights": "imagenet" if source == "bundled" else source}
        defaults = {"device": "cpu", "dtype": "float32"}
        options |= {name: getattr(model, name) for name, usual in defaults.items() if getattr(model, name) != usual}
        written = ", ".join(f"{name}={value!r}" for name, value in options.items())
        found[role] = f"vizkit.load({model.name!r}, {written})"
    return found


def relative(path: Path, folder: Path) -> str:
    """A path as seen from the notebook's folder, where notebooks run."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return path.absolute().as_posix()


def write(path: Path, run: Run, done: Sequence[Chapter], calls: Mapping[str, str], language: str) -> None:
    """The notebook, whole or not at all: a cell of text for each section of the page, and the code that makes it."""
    text = json.dumps(document(run, done, calls, language, path.parent), indent=1, ensure_ascii=False)
    write_text(path, text + "\n")


def document(
    run: Run, done: Sequence[Chapter], calls: Mapping[str, str], language: str, folder: Path
) -> dict[str, Any]:
    """The notebook as nbformat 4.5 has it."""
    head = f"# {run.say('title', photo=run.photo_name)}\n\n{run.say('notebook.intro')}"
    networks = "\n".join(f"    {role!r}: {call}," for role, call in calls.items())
    start = (
        f"import vizkit\n\nPHOTO = {relative(Path(str(run.photo)), folder)!r}\nSEED = {run.seed}\n"
        f"networks = {{\n{networks}\n}}"
    )
    cells = [_cell("markdown", head), _cell("code", start)]
    for one in done:
        cells.append(_cell("markdown", f"## {one.title}\n\n{one.text}"))
        cells += [_cell("code", code) for code in codes(run, one.key)]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    about = {
        "generator": f"{GENERATOR} {VERSION}",
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "language": language,
    }
    return {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def _cell(kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def codes(run: Run, key: str) -> list[str]:
    """The code of one section, a cell for each picture."""
    role = "googlenet" if key in ("more-saliency", "more-filters", "more-features", "dream") else "vgg19"
    role = "resnet152" if key == "saliency-2" else role
    model = f"networks[{role!r}]"
    ways = run.readings() if role != "googlenet" else (CORRECT,)
    noise = f"noise = vizkit.images.noise(150, 180, size=min({model}.spec.size), seed=SEED)"
    saliency = {CORRECT: f"fit={FIT!r}", PUBLISHED: 'mode="published", seed=SEED'}
    ranges = {CORRECT: "imagenet", PUBLISHED: "unit"}
    kind = key.removeprefix("more-").partition("-")[0]
    if kind == "saliency":
        return [f"vizkit.saliency({model}, PHOTO, {saliency[way]})" for way in ways]
    if kind in ("features", "noise"):
        shown = [
            f"vizkit.feature_maps({model}, {'noise' if kind == 'noise' else 'PHOTO'}, fit={FIT!r}, "
            f"input_range={ranges[way]!r})"
            for way in ways
        ]
        return [f"{noise}\n{shown[0]}", *shown[1:]] if kind == "noise" else shown
    first = f"weight = {model}.weight({model}.filter_layers()[0])"
    filters = [
        f"vizkit.filters({model}, limit=len({model}.weight({model}.filter_layers()[0])))",
        f"{first}\nprint(weight)",
    ]
    settings = "".join(f", {name}={value!r}" for name, value in run.dream.items())
    return {
        "photo": [f"vizkit.images.fit_image(vizkit.images.read(PHOTO), {model}.spec, {FIT!r})"],
        "architecture": [f"print({model}.architecture())"],
        "weights": [
            f"for layer in {model}.filter_layers():\n    weight = {model}.weight(layer)\n"
            '    print(f"{layer}.weight[0]", *weight.shape[1:])\n    print(weight[0])'
        ],
        "last": [f"layer = {model}.filter_layers()[-1]\nprint({model}.weight(layer)[0])"],
        "first": filters,
        "filters": filters,
        "dream": [f"vizkit.dream({model}, seed=SEED{settings})"],
    }[kind]
