"""What every metric takes: maps of any origin, masks, and methods that make maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..contract.backend import Array, Model
from ..contract.errors import SettingError, ShapeError
from ..inputs.images import Batch, denormalise, picture
from ..inputs.targets import Wanted
from ..results.attribution import Attribution

Maps = Attribution | npt.ArrayLike
"""An attribution of vizkit, or an array (N, H, W), one map of (H, W) included, of anybody's."""
Method = Callable[..., Any]
"""``method(model, image, target=...)`` that gives an attribution or an array (N, H, W)."""


def as_maps(maps: Maps, *, count: int | None = None, size: tuple[int, int] | None = None) -> Array:
    """(N, H, W) float64. Raises ShapeError for another shape than expected, SettingError for values not finite."""
    values = np.asarray(maps.values if isinstance(maps, Attribution) else maps, dtype=np.float64)
    values = values[None] if values.ndim == 2 else values
    wanted = (count if count is not None else len(values), *(size or values.shape[1:]))
    if values.ndim != 3 or values.shape != wanted or 0 in values.shape:
        expected = "(N, H, W)" if count is None else str(wanted)
        raise ShapeError(f"Maps of shape {np.shape(values)}; expected {expected}, one map for each image.")
    for i, one in enumerate(values):
        if not np.isfinite(one).all():
            raise SettingError(f"Map {i} holds values that are not finite; nothing can be said of its quality.")
    return values


def as_masks(masks: npt.ArrayLike, maps: Array) -> Array:
    """(N, H, W) of bool. Raises ShapeError unless there is one for each map, SettingError for an empty one."""
    found = np.asarray(masks)
    found = found[None] if found.ndim == 2 else found
    if found.shape != maps.shape:
        raise ShapeError(
            f"Masks of shape {found.shape} for maps of shape {maps.shape}: give one for each map, as large."
        )
    if found.dtype != np.bool_ and not np.isin(found, (0, 1)).all():
        raise SettingError("Masks hold values other than 0 and 1; compare them with a threshold first.")
    found = found.astype(bool)
    empty = np.flatnonzero(~found.any(axis=(1, 2)))
    if len(empty):
        raise SettingError(f"Mask {empty[0]} is empty: where there is no object, no map can find it.")
    return found


def explain(method: Method, model: Model, batch: Batch, wanted: Sequence[Wanted]) -> Array:
    """The method's maps (N, H, W) of these targets."""
    height, width = batch.tensor.shape[2:]
    return as_maps(method(model, batch, target=list(wanted)), count=len(batch), size=(height, width))


def with_tensor(batch: Batch, tensor: Array, model: Model) -> Batch:
    """The batch with other inputs (N, C, H, W), and with pictures that show them."""
    pixels = denormalise(tensor, model.spec) if batch.input_range != "unit" else tensor
    return replace(batch, tensor=tensor, pictures=picture(pixels))
