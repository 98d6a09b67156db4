"""What a study compares: its options, by name or from a TOML file, checked before anything is computed."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ...contract.backend import cpu_count, get, registered
from ...contract.errors import BackendMissingError, SettingError, check_known
from ...inputs import images
from ...inputs.images import FITS, RANGES
from ...zoo.weights import seed_of
from ..explain import controls, methods

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MARK = "# vizkit compare"
"""The first line of the study file in a report's folder, by which the folder is known."""
FEATURE_MAPS, PREDICT = "feature_maps", "predict"
LAYERS = ("blocks", "all")
TOLERANCE = 1e-5
"""Relative L2 beyond which two backends diverge. float32 rounds to 1.2e-7, and sums of thousands of terms taken in
another order part by a few times that, in every network measured less than 1e-5; a wrong operator lies far beyond."""
LISTS = ("model", "backend", "weights", "technique", "image")
DEFAULT_TECHNIQUES = ("saliency", FEATURE_MAPS)


@dataclass(frozen=True)
class Plan:
    """A study. ``networks`` are pairs of a model's name and its weights, ``image`` the files; the other fields are as
    :func:`vizkit.compare` has them."""

    model: tuple[str, ...]
    backend: tuple[str, ...]
    weights: tuple[str, ...]
    technique: tuple[str, ...]
    image: tuple[Path, ...]
    layers: str | tuple[str, ...] = LAYERS[0]
    target: int | str | None = None
    fit: str = "crop"
    input_range: str = "imagenet"
    seed: int = 0
    device: str = "cpu"
    repeats: int = 5
    threads: int = field(default_factory=cpu_count)
    tolerance: float = TOLERANCE
    judge: bool = True
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def networks(self) -> list[tuple[str, str]]:
        """Every model with every weights, but for weights written MODEL=FILE, which belong to one model."""
        found = []
        for model in self.model:
            for weights in self.weights:
                owner, _, rest = weights.partition("=")
                if owner not in self.model:
                    found.append((model, weights))
                elif owner == model:
                    found.append((model, rest))
        return found

    @property
    def names(self) -> list[str]:
        """The images' file names; equal ones are numbered."""
        plain = [path.name for path in self.image]
        return [
            name if plain.count(name) == 1 else f"{name} ({plain[: i + 1].count(name)})" for i, name in enumerate(plain)
        ]


def techniques() -> dict[str, Callable[..., Any] | None]:
    """What a study can compute: every attribution method, the layers' activations, and the logits."""
    return {**methods(), **controls(), FEATURE_MAPS: None, PREDICT: None}


def make(study: str | os.PathLike[str] | None, given: Mapping[str, Any]) -> Plan:
    """The plan of a TOML file, in which each option that is ``given`` (not None) replaces the file's.

    Relative names in the file are looked for beside it. Raises SettingError, UnknownNameError, ImageError or
    BackendMissingError: a study that cannot run says so before it begins.
    """
    options = {} if study is None else read(Path(study))
    options |= {name: value for name, value in given.items() if value is not None}
    for name in LISTS:
        value = options.get(name)
        options[name] = tuple(dict.fromkeys([value] if isinstance(value, str | os.PathLike) else (value or ())))
    layers = options.get("layers")
    if isinstance(layers, list | tuple):
        options["layers"] = layers[0] if tuple(layers) in ((name,) for name in LAYERS) else tuple(layers)
    elif isinstance(layers, str) and layers not in LAYERS:
        options["layers"] = (layers,)
    if not options["model"]:
        raise SettingError("A study needs a model at least: give --model NAME, or a study file with `model = [...]`.")
    installed = sorted((name for name, found in registered().items() if found.installed()), reverse=True)
    options["backend"] = options["backend"] or tuple(installed)
    options["weights"] = options["weights"] or ("imagenet",)
    chosen = options["technique"] or DEFAULT_TECHNIQUES
    if chosen == ("all",):  # but for those of transformers alone, several pictures or patience, which a study names
        special = ("needs_attention", "needs_pictures", "needs_patience")
        chosen = [name for name, run in techniques().items() if not any(hasattr(run, need) for need in special)]
    options["technique"] = tuple(chosen)
    options["image"] = tuple(map(_path, options["image"] or (images.sample(),)))
    plan = Plan(**options)
    _check(plan)
    return plan


def _path(image: Any) -> Path:
    if not isinstance(image, str | os.PathLike):
        raise SettingError(f"A study compares image files; got a {type(image).__name__}. Save it as a PNG first.")
    return Path(image)


def _check(plan: Plan) -> None:
    known = registered()
    if not plan.backend:
        get()  # says that no backend is installed, and what installs one
    for name in plan.backend:
        check_known("backend", name, known)
        if not known[name].installed():
            raise BackendMissingError(f"The backend {name!r} is not installed. Install it with: {known[name].install}")
    for name in {**dict.fromkeys(plan.technique), **plan.settings}:
        check_known("technique", name, techniques())
    for name, settings in plan.settings.items():
        run = techniques()[name]
        allowed = [] if run is None else list(inspect.signature(run).parameters)[2:]
        for setting in settings:
            check_known(f"setting of {name}", setting, allowed)
    for weights in plan.weights:
        seed_of(weights.rpartition("=")[2])
    if not plan.networks:
        raise SettingError(f"None of the weights {', '.join(plan.weights)} is for one of {', '.join(plan.model)}.")
    if plan.fit not in FITS or plan.input_range not in RANGES:
        raise SettingError(f"fit={plan.fit!r}, input_range={plan.input_range!r}: expected one of {FITS} and {RANGES}.")
    for name, least in (("repeats", 1), ("threads", 1), ("tolerance", 0)):
        if getattr(plan, name) < least:
            raise SettingError(f"{name}={getattr(plan, name)}: give at least {least}.")
    for path in plan.image:
        images.read(path)


def read(path: Path) -> dict[str, Any]:
    """The options in a study file; its relative image and weights files are made relative to its folder.

    Raises SettingError for a file that cannot be read, UnknownNameError for an option that does not exist.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"The study file '{path}' cannot be read: {error}.") from None
    known = [one.name for one in fields(Plan)]
    kinds = {"settings": dict, "repeats": int, "threads": int, "seed": int, "judge": bool, "tolerance": int | float}
    for name, value in found.items():
        check_known(f"option in '{path}'", name, known)
        if not isinstance(value, kinds.get(name, list | str | int)):
            raise SettingError(f"{name} = {value!r} in '{path}' is no {getattr(kinds.get(name), '__name__', 'text')}.")
    folder = path.parent
    for name in ("image", "weights"):
        if name in found:
            listed = [found[name]] if isinstance(found[name], str) else found[name]
            found[name] = [_beside(folder, one) for one in listed]
    return found


def _beside(folder: Path, name: str) -> str:
    owner, equals, rest = name.rpartition("=")
    return f"{owner}{equals}{folder / rest}" if Path(rest).suffix else name


def text(plan: Plan) -> str:
    """The plan as a study file, with every option stated and files by name alone."""
    lines = [MARK, "# Files are named without their folders; their SHA-256 are in results.json."]
    for one in fields(plan):
        value = getattr(plan, one.name)
        if one.name == "settings" or value is None:
            continue
        if one.name == "image":
            value = [path.name for path in value]
        if one.name == "weights":
            value = [weights_name(each) for each in value]
        lines.append(f"{one.name} = {_toml(value)}")
    for name, settings in plan.settings.items():
        lines += ["", f"[settings.{name}]", *(f"{key} = {_toml(value)}" for key, value in settings.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value)


def weights_name(weights: str) -> str:
    """Weights as a report names them: a file by its name, without its folder."""
    owner, equals, rest = weights.rpartition("=")
    return f"{owner}{equals}{Path(rest).name}" if Path(rest).suffix else weights
