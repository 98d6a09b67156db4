"""What a target means: the class whose logit is explained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .backend import Array, Model, Ops, Tensor
from .errors import SettingError, ShapeError

Target = int | str | None | Sequence[int | str | None]
ALL = "all"


def choose(model: Model, target: Target, logits: Array) -> list[int | None]:
    """The class index for each row of ``logits`` (N, classes); None stands for the sum of all logits.

    ``target`` is None (the row's top-1), an index, a label, "all", or a list with one of these per row. Raises
    UnknownNameError for a class that does not exist, SettingError for a list of the wrong length.
    """
    if logits.ndim != 2:
        raise ShapeError(
            f"{model.name} gives an output of shape {tuple(logits.shape)}; a target needs logits of shape (N, classes)."
        )
    rows, classes = logits.shape
    each = listed(target, rows)
    return [_one(model, item, row, classes) for item, row in zip(each, logits, strict=True)]


def resolve(model: Model, target: Target, logits: Tensor) -> list[int | None]:
    """As :func:`choose`, for native logits; they are read only where a target is None. A device must finish what it is
    doing before it can be read."""
    shape = tuple(logits.shape)
    unknown = None in listed(target, shape[0])
    return choose(model, target, model.ops.numpy(logits) if unknown else np.broadcast_to(np.float32(0), shape))


def listed(target: Target, rows: int) -> list[int | str | None]:
    """One target a row. Raises SettingError for a list of another length."""
    if target is None or isinstance(target, int | str | np.integer):
        return [target] * rows
    if len(target) != rows:
        raise SettingError(f"{len(target)} targets for {rows} images: give one target for all, or one for each.")
    return list(target)


def _one(model: Model, target: int | str | None, row: Array, classes: int) -> int | None:
    if target == ALL:
        return None
    if target is None:
        return int(np.argmax(row))
    return model.spec.index(target, classes)


def labels(model: Model, chosen: Sequence[int | None]) -> list[str]:
    """Names of the chosen classes; "all logits" for the sum."""
    return ["all logits" if index is None else model.spec.label(index) for index in chosen]


def score(ops: Ops, logits: Tensor, chosen: Sequence[int | None]) -> Tensor:
    """The chosen logit of each row, shape (N,); the sum of the row where the choice is None."""
    if all(index is None for index in chosen):
        return ops.sum(logits, 1)
    picked = ops.pick(logits, [0 if index is None else index for index in chosen])
    if None not in chosen:
        return picked
    whole = ops.asarray([float(index is None) for index in chosen])
    return picked * (1.0 - whole) + ops.sum(logits, 1) * whole
