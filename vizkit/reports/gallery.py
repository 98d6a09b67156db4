"""A sheet of pictures for each layer of a network, and a page that shows them all."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from .. import draw as plotting
from .. import results
from ..contract.backend import Array, Model
from ..contract.errors import SettingError
from ..inputs.folders import collect
from ..inputs.images import ImageInput
from ..results.dreams import Evidence, Rendering
from ..support.crew import crew
from ..support.files import write_npz
from ..support.progress import steps_bar
from ..techniques import render as optimise
from ..techniques import top_units
from ..techniques.dreams.objectives import unit
from ..techniques.dreams.panels import panels
from ..techniques.dreams.parametrisations import Fourier
from .page import Chapter, backends, drawn, loading, render, settings
from .page.folder import check, write

GENERATOR = "vizkit gallery"
STATE = "pictures"
"""The folder with the raw pictures of every layer, from which a stopped gallery goes on."""
COLUMNS = 5
DPI = 130


@dataclass(frozen=True)
class Plan:
    """How the pictures of a gallery are made."""

    top: int
    images: ImageInput | None
    steps: int
    size: int
    seed: int


def make(
    models: Model | Sequence[Model],
    *,
    layers: str | Sequence[str] = "all",
    top: int = 10,
    images: ImageInput | None = None,
    steps: int = 256,
    size: int = 128,
    seed: int = 0,
    out: str | os.PathLike[str] = "vizkit-gallery",
    tell: Callable[[str], None] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Path:
    """One sheet a layer with the pictures of its top units, unit number, activation and evidence under each.

    Units are chosen in the first model, by :func:`vizkit.top_units`, and rendered by :func:`vizkit.render` with its
    defaults, as one batch. Each layer's raw pictures are kept in the folder ``pictures`` as ``.npz``; a gallery that is
    called again computes only what is missing, and writes its page after every layer.

    Args:
        models: a network, or the same network in several backends, which share each sheet.
        layers: names, or "all" for every stage of the network.
        top: units a layer.
        images: real pictures, which choose the units and among which each activation is placed; None takes the units
            that reach the highest activation after a short optimisation.
        steps, size, seed: of the renderings.
        out: a folder that is new, empty or holds an earlier gallery.
        tell: called with messages for the user.
        workers, scheduler: who does the work, as for :func:`vizkit.explain`; each layer is a task.

    Returns:
        The path of ``index.html``.

    Raises:
        SettingError, UnknownNameError, DivergedError and those of the techniques.
    """
    several = [models] if isinstance(models, Model) else list(models)
    names = panels(several) if layers == "all" else [layers] if isinstance(layers, str) else list(layers)
    for model in several:
        for name in names:
            model.check_layer(name)
    folder = Path(out)
    earlier = check(folder, GENERATOR, (STATE,))
    plan = Plan(top, images, steps, size, seed)
    done: list[Chapter] = []
    index = folder / "index.html"
    rendered = partial(_rendered, plan=plan, folder=(folder / STATE).resolve())
    with crew(several, workers, scheduler) as team, steps_bar("gallery", len(names)) as advance:
        for name, found in team.ordered(rendered, {name: name for name in names}):
            done.append(_sheet(name, found))
            index = write(folder, earlier, done, _page(several, done, plan, names))
            for one in found:
                for item in np.flatnonzero(one.evidence.failed):
                    made = one.provenance
                    (tell or str)(f"{made['backend']}, {name}: unit {made['units'][item]} was never activated")
            advance(len(done), name)
    return index


def _rendered(models: Sequence[Model], layer: str, *, plan: Plan, folder: Path) -> list[Rendering]:
    """The pictures of a layer in each model; the first chooses the units."""
    found: list[Rendering] = []
    for model in models:
        found.append(_layer(model, layer, plan, folder, found[0].provenance["units"] if found else None))
    return found


def _layer(model: Model, layer: str, plan: Plan, folder: Path, units: Sequence[int] | None) -> Rendering:
    """The pictures of a layer: those on disk, or else new ones, which are then on disk."""
    key = _key(model, layer, plan, units)
    file = folder / f"{layer}-{model.backend}.npz"
    stored = _load(file, key)
    if stored is not None:
        return stored
    chosen = units or top_units(model, plan.images, layer, plan.top, seed=plan.seed).units
    made = optimise(
        model,
        unit(layer, list(chosen)),
        parametrisation=Fourier(plan.size, model.spec.channels),
        steps=plan.steps,
        seed=plan.seed,
        images=plan.images,
        titles=[f"unit {one}" for one in chosen],
    )
    whole = {**made.provenance, "units": list(chosen)}
    rendering = Rendering(made.values, whole, made.trace, made.evidence, made.alpha, (), made.titles)
    folder.mkdir(exist_ok=True)
    said = {"key": key, results.PROVENANCE: json.dumps(whole)}
    write_npz(file, rendering.arrays() | said, compressed=True)
    return rendering


def _key(model: Model, layer: str, plan: Plan, units: Sequence[int] | None) -> str:
    """What must be equal for pictures on disk to be taken again."""
    made = results.provenance(model, "gallery", {"layer": layer, "steps": plan.steps, "size": plan.size})
    chosen = {"top": plan.top, "seed": plan.seed, "units": None if units is None else list(units)}
    shown = None if plan.images is None else collect(plan.images).fingerprint()
    return hashlib.sha256(json.dumps([made, chosen, shown], sort_keys=True).encode()).hexdigest()


def _load(file: Path, key: str) -> Rendering | None:
    """The pictures in ``file``, if they are whole and made by the same call."""
    if not file.exists():
        return None
    try:
        with np.load(file) as stored:
            if str(stored["key"]) != key:
                return None
            arrays: dict[str, Array] = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    made = json.loads(str(arrays[results.PROVENANCE]))
    activation, start, shifted, failed = (arrays[name] for name in ("activation", "start", "shifted", "failed"))
    evidence = Evidence(activation, start, shifted, arrays.get("percentile"), failed)
    titles = tuple(f"unit {one}" for one in made["units"])
    return Rendering(arrays["values"], made, arrays["trace"], evidence, arrays.get("alpha"), (), titles)


def _sheet(layer: str, found: Sequence[Rendering]) -> Chapter:
    first = found[0]
    provenances = [{**one.provenance, "activation": one.evidence.activation.tolist()} for one in found]
    alt = (
        f"{len(first.values)} optimised pictures, of units {', '.join(map(str, first.provenance['units']))} of {layer}"
    )
    figure = plotting.rendering(found, COLUMNS)
    picture = drawn(f"{layer}.png", figure, alt, GENERATOR, "noise", provenances, dpi=DPI)
    failed = sum(int(one.evidence.failed.sum()) for one in found)
    notes = [f"{failed} of {sum(len(one.values) for one in found)} pictures never activated their unit."] * bool(failed)
    best, worst = first.evidence.activation.max(), first.evidence.activation.min()
    text = (
        f"The {len(first.values)} strongest units of {layer}, each with the picture that excites it most. Activations "
        f"reached: {worst:.4g} to {best:.4g}."
    )
    key = "layer-" + layer.replace(".", "-")
    return Chapter(key, layer, text, [picture], notes=notes)


def _page(models: Sequence[Model], done: Sequence[Chapter], plan: Plan, names: Sequence[str]) -> str:
    first = models[0]
    chosen = "by their mean response to the given pictures" if plan.images is not None else "by what they can reach"
    facts = [
        ("network", first.name),
        backends(models),
        ("weights", Path(first.weights.source).name),
        ("weights’ SHA-256", first.sha256()),
        ("layers", f"{len(done)} of {len(names)}"),
        ("units", f"{plan.top} a layer, chosen {chosen}"),
        ("recipe", _recipe(done[0])),
    ]
    own = f"--top {plan.top} --steps {plan.steps} --size {plan.size} --seed {plan.seed}"
    command = " ".join(["vizkit gallery", first.named or first.name, own, *loading(models)])
    lead = (
        "What the units of each layer respond to most, found by optimisation from noise. Under each picture stand the "
        "activation it reached, where that lies among real pictures if some were given, and what is left of it when "
        "the picture is shifted by four pixels."
    )
    return render(f"vizkit gallery: {first.name}", lead, facts, done, command, generator=GENERATOR)


def _recipe(chapter: Chapter) -> str:
    shown = dict(settings(chapter.pictures[0].provenance))
    names = ("parametrisation", "transforms", "optimiser", "lr", "steps")
    return "; ".join(f"{name} {shown[name]}" for name in names if name in shown)


def chosen_layers(given: Sequence[str]) -> str | list[str]:
    """What the command line's ``--layers`` mean: "all", or names, also several in one option with commas."""
    listed = [name.strip() for one in given for name in one.split(",") if name.strip()]
    if not listed:
        raise SettingError("--layers names no layer; give names or `all`.")
    return "all" if listed == ["all"] else listed
