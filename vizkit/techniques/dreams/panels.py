"""Which of a network's many layers are worth a picture each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...contract.backend import Model
from ...contract.errors import LayerError, SettingError
from ...contract.units import find_units
from ...inputs import images
from ...inputs.images import Batch
from ..common.checks import pictures_only

PLUMBING = ("Conv", "BatchNorm", "Dropout", "Flatten", "AdaptiveAvg", "GlobalAvg")
"""What the kinds of layers begin with whose values something right behind them finishes."""


def panels(models: Sequence[Model]) -> list[str]:
    """The outermost layers with feature maps of more than one position that all networks have, in order of depth.

    Of ``inception4a`` and ``inception4a.branch1`` that is the first. Bare convolutions and batch norms are left out
    where activations or blocks are there to show instead. Of GoogLeNet these are its 16 stages.
    """
    first, *others = models
    spatial = [
        name
        for name, layer in first.layers.items()
        if (units := find_units(first, name)) is not None
        and units.places[0] > 1
        and not layer.kind.endswith("Sequential")
        and all(name in other.layers for other in others)
    ]
    known = set(spatial)
    outer = [name for name in spatial if not any(name[:cut] in known for cut, sign in enumerate(name) if sign == ".")]
    finished = [name for name in outer if not first.layers[name].kind.startswith(PLUMBING)]
    if not outer:
        raise LayerError(f"{first.name} has no layer with feature maps.")
    return finished or outer


def photo_and_layers(
    technique: str, model: Model, image: Any, layer: str | Sequence[str] | None, count: int, fit: str
) -> tuple[Batch, list[str]]:
    """One photo as the network gets it, and the layers that a picture is made for, ``count`` where none is named."""
    pictures_only(model, technique)
    names = [layer] if isinstance(layer, str) else list(layer or spread(panels([model]), count))
    for name in names:
        model.check_layer(name)
    batch = images.prepare(image, model.spec, fit=fit)
    if len(batch) != 1:
        raise SettingError(f"{technique}() takes one image; got {len(batch)}.")
    return batch, names


def spread(names: Sequence[str], count: int) -> list[str]:
    """``count`` of them, evenly from first to last."""
    if count >= len(names):
        return list(names)
    return [names[round(k * (len(names) - 1) / (count - 1))] for k in range(count)]
