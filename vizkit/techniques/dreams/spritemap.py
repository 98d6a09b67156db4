"""All units of a layer at a glance: a small picture of each."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from ...contract.backend import Model
from ...contract.errors import SettingError
from ...contract.units import units_of
from ...results.concepts import SpriteMap
from ...results.files import provenance
from ..common.checks import pictures_only
from .objectives import unit as of_unit
from .sheet import VIEWS, in_batches


def spritemap(
    model: Model,
    layer: str,
    unit: int | Sequence[int] | None = None,
    *,
    size: int = 64,
    steps: int = 128,
    lr: float = 0.05,
    columns: int | None = None,
    state: str | os.PathLike[str] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
) -> SpriteMap:
    """A small rendering of each unit of a layer, ``mean over positions of A_k`` raised, on one sheet (as in Carter et
    al. 2019, "Activation Atlas", and OpenAI's Microscope, after Olah et al. 2017).

    Args:
        model: a network.
        layer: a layer with units, channels over the picture or numbers (N, C).
        unit: a channel, several, or None for all.
        size: side of a sprite in pixels.
        steps, lr: of Adam.
        columns: sprites in a row; None makes the sheet about square.
        state: an ``.npz`` beside which each finished batch is kept under its number, so that the same call goes on.
        seed: of the noise and the changes of view; a unit's picture does not depend on the others.
        batch_size: units that are optimised at once; None is 16.

    Returns:
        :class:`vizkit.results.SpriteMap` with ``values`` (U, C, size, size); its ``save("x.png")`` writes
        the figure with the units' numbers, ``save("x.png", sheet=True)`` the bare sheet.

    Raises:
        UnknownNameError, ShapeError for the layer, SettingError for a unit, DivergedError.

    Believe:
        A small picture shows one thing that excites a unit; look at real pictures before naming it.

    Example:
        >>> import vizkit
        >>> vizkit.spritemap(vizkit.load("shapes"), "features.9", [3, 5], size=32, steps=2).sheet().shape
        (32, 64, 3)
    """
    pictures_only(model, "spritemap")
    units = tuple(units_of(model, layer).chosen(unit))
    if columns is not None and columns < 1:
        raise SettingError(f"columns={columns}: expected at least one sprite in a row, or None.")
    values, activation, failed = in_batches(
        model, lambda start, stop: of_unit(layer, units[start:stop]), len(units), label=f"units of {layer}", size=size,
        steps=steps, lr=lr, seed=seed, state=state, batch_size=batch_size,
    )  # fmt: skip
    wide = columns or math.ceil(math.sqrt(len(units)))
    settings = {
        "layer": layer, "unit": units, "size": size, "steps": steps, "lr": lr, "columns": wide, "seed": seed,
        "transforms": list(map(repr, VIEWS)),
    }  # fmt: skip
    return SpriteMap(values, provenance(model, "spritemap", settings), layer, units, activation, failed, wide)
