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
    classes = _classes(model, logits.shape)
    each = listed(target, len(logits))
    return [_one(model, item, row, classes) for item, row in zip(each, logits, strict=True)]


def _classes(model: Model, shape: Sequence[int]) -> int:
    if len(shape) != 2:
        raise ShapeError(
            f"{model.name} gives an output of shape {tuple(shape)}; a target needs logits of shape (N, classes)."
        )
    return shape[1]


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


def marks(model: Model, target: Target, rows: int) -> Array:
    """What a device needs to find the targets' logits by itself: (rows, classes + 1), float64. A row has ones at the
    logits that are added up, or, where its target is None, a single one at its end.

    Raises what :func:`choose` raises.
    """
    classes = _classes(model, model.output_shape)
    found = np.zeros((rows, classes + 1))
    for row, item in zip(found, listed(target, rows), strict=True):
        if item == ALL:
            row[:-1] = 1
        else:
            row[-1 if item is None else model.spec.index(item, classes)] = 1
    return found


def score(ops: Ops, logits: Tensor, marks: Tensor) -> Tensor:
    """The logits (N, classes) that the rows of :func:`marks` mean, added up: (N,)."""
    chosen = marks[:, :-1] + marks[:, -1:] * ops.top(ops.detach(logits))
    return ops.sum(ops.where(chosen, logits, 0.0 * chosen), 1)
