"""Gathering what a unit's page shows, and writing its folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...contract.backend import OUTPUT, Array, Model
from ...contract.errors import SettingError, VizkitError
from ...contract.units import units_of
from ...inputs.folders import Pictures, collect, stream
from ...inputs.images import Batch, ImageInput
from ...results.dreams import Rendering
from ...results.files import provenance
from ...support.progress import Advance, steps_bar
from ...techniques.common.layers import by_unit
from ...techniques.common.relu import NAMED
from ...techniques.dreams.objectives import unit as channel
from ...techniques.dreams.parametrisations import Fourier
from ...techniques.dreams.render import render as optimise
from ...techniques.features.best import Best, assemble
from ...techniques.units.filter import filter_of
from ...techniques.units.histogram import Histogram
from ...techniques.units.neuron import neuron_maps
from ...techniques.units.votes import votes
from ..page import Chapter, backends, render
from ..page.folder import check, write
from . import chapters
from .chapters import Seen

GENERATOR = "vizkit unit"
STEPS = 128
"""Of the optimised picture."""


class _Both:
    """The best patches and the histogram in one pass."""

    grows = False

    def __init__(self, best: Best, histogram: Histogram) -> None:
        self.best, self.histogram = best, histogram

    def fresh(self) -> _Both:
        return _Both(self.best.fresh(), self.histogram.fresh())

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        self.best.take(places, batch, activations)
        self.histogram.take(places, batch, activations)

    def state(self) -> dict[str, Array]:
        return self.best.state() | self.histogram.state()

    def merge(self, part: Mapping[str, Array]) -> None:
        self.best.merge(part)
        self.histogram.merge(part)


def make(
    models: Sequence[Model],
    layer: str,
    unit: int,
    pictures: Pictures | ImageInput,
    *,
    out: str | os.PathLike[str],
    k: int = 9,
    state: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    seed: int = 0,
    input_range: str = "imagenet",
    fit: str = "crop",
    batch_size: int | None = None,
) -> Path:
    """Write the page of one unit into the folder ``out``: its weights, receptive field, top patches with guided and
    deconvnet maps under each, histogram over the folder, optimised picture, and the classes it votes for.

    Args:
        models: the network in one backend, or in several, which are compared.
        layer, unit: the channel.
        pictures: a folder, a list of files, or whatever :func:`vizkit.folders.collect` takes.
        out: a folder that does not exist, is empty, or holds an earlier page of a unit and nothing else.
        k: patches.
        state: as :func:`vizkit.folders.stream` has it; with several models each has its own, with the backend's name.
        seed: of the optimised picture's noise.
        workers, scheduler, input_range, fit, batch_size: as :func:`vizkit.folders.stream` has them.

    Returns:
        The path of ``index.html``.

    Raises:
        SettingError for a folder with other files; ImageError, UnknownNameError and the like. What cannot be said of a
        unit, its filter behind a residual sum for one, is noted in its place.
    """
    folder = Path(out)
    earlier = check(folder, GENERATOR)
    if layer == OUTPUT:
        raise SettingError("layer='output' is no unit's place; name the last layer instead, for example 'fc'.")
    for model in models:
        units_of(model, layer).chosen(unit)
    listed = collect(pictures)
    crew: dict[str, Any] = {"workers": workers, "scheduler": scheduler}
    with steps_bar("unit", 5 * len(models)) as advance:
        seen = []
        for number, model in enumerate(models):
            file = None if state is None else Path(state)
            if file is not None and len(models) > 1:
                file = file.with_stem(f"{file.stem}-{model.backend}")
            one = _fires(model, layer, unit, listed, k, input_range, fit, batch_size, state=file, **crew)
            advance(5 * number + 1, "maps")
            _explained(one, layer, unit, seed, batch_size, advance, 5 * number)
            seen.append(one)
        done = chapters.all_of(seen, layer, unit)
    return write(folder, earlier, done, _page(seen, layer, unit, done))


def _fires(
    model: Model, layer: str, unit: int, listed: Pictures, k: int, input_range: str, fit: str, batch_size: int | None,
    **where: Any,
) -> Seen:  # fmt: skip
    best, histogram = Best({layer: [unit]}, k, model.ops.dtype), Histogram(layer, unit)
    passed = stream(
        model, listed, [layer], _Both(best, histogram), label="patches", fit=fit, input_range=input_range,
        batch_size=batch_size, **where, settings={"unit": unit, "k": k}, looking=partial(by_unit, layers=[layer]),
    )  # fmt: skip
    settings = {"layer": layer, "unit": unit, "k": k, "input_range": input_range, "fit": fit}
    made = provenance(model, "top_patches", settings) | {"images": passed.described()}
    found = assemble(model, listed, best, made)
    batch, positions = found.batch(0), found.positions[0].tolist()
    maps = {
        rule: neuron_maps(model, batch, layer, unit, positions, rule=rule, batch_size=batch_size)
        for rule in (NAMED if model.has_relu() else ("gradient",))
    }
    return Seen(model, found, histogram, maps)


def _explained(one: Seen, layer: str, unit: int, seed: int, batch_size: int | None, advance: Advance, at: int) -> None:
    """The parts that may fail for a unit, each with a note in its place."""
    model, batch = one.model, one.patches.batch(0)

    def dream() -> Rendering:
        shape = Fourier(channels=model.spec.channels)
        return optimise(model, channel(layer, unit), parametrisation=shape, steps=STEPS, seed=seed)

    parts: dict[str, tuple[int, Callable[[], Any]]] = {
        "filter": (2, lambda: filter_of(model, layer, unit)),
        "votes": (3, lambda: votes(model, batch, layer, unit, batch_size=batch_size)),
        "dream": (5, dream),
    }
    for name, (done, make_it) in parts.items():
        try:
            setattr(one, name, make_it())
        except VizkitError as error:
            one.notes[name] = str(error)
        advance(at + done, "")


def _page(seen: Sequence[Seen], layer: str, unit: int, done: Sequence[Chapter]) -> str:
    first = seen[0]
    made = first.patches.provenance
    name, found = first.model.name, made["images"]
    top = float(first.patches.values[0, 0])
    silent = " It is silent: dead on these pictures." if not first.histogram.counts.any() else ""
    lead = (
        f"What makes unit {unit} of layer {layer} fire, over {found['count']} pictures: its highest activation is "
        f"{top:.4g}, and {first.histogram.share_of_zero:.1%} of its positions are zero.{silent}"
    )
    facts = [
        ("network", f"{name}, weights {Path(first.model.weights.source).name}"),
        ("unit", f"{unit} of {units_of(first.model, layer).count} in {layer}"),
        backends([one.model for one in seen]),
        ("weights’ SHA-256", first.model.sha256()),
        ("pictures", f"{found['count']} read, {len(found['skipped'])} not"),
        *[("not read", f"{one['name']}: {one['reason']}") for one in found["skipped"]],
    ]
    command = f"vizkit unit {first.model.named or name} {layer} {unit} --images FOLDER"
    return render(f"{name}: {layer}, unit {unit}", lead, facts, done, command, generator=GENERATOR)
