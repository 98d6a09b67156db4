"""What an optimised picture is worth: what it reached, whether that lasts, and how it compares to real pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...contract.backend import Array, Model, Tensor
from ...inputs import images as pixels
from ...inputs.images import ImageInput
from ...results.dreams import Evidence
from ...support import batching
from .objectives import Objective, Seen
from .parametrisations import bilinear
from .transforms import Resize

SHIFTS = tuple((down, across) for down in (-4, 0, 4) for across in (-4, 0, 4) if down or across)
"""Shifts in pixels under which a picture is looked at again."""


def gather(
    model: Model,
    objective: Objective,
    values: Array,
    start: Array,
    resize: Resize | None,
    images: ImageInput | None,
) -> Evidence:
    """Evidence for pictures (N, C, H, W) in 0..1 that grew out of ``start``."""
    judged = objective.judged() or objective
    began = start if start.shape == values.shape else bilinear(start, (values.shape[-2], values.shape[-1]))
    every = [values, began, *(shifted(values, *by) for by in SHIFTS)]
    activation, first, *others = measure(model, judged, every, resize)
    least = np.min(others, axis=0)
    base = np.zeros_like(first) if judged.activates() else first
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(activation > base, (least - base) / (activation - base), 0.0)
    floor = np.maximum(first, 0.0) if judged.activates() else first
    place = None if images is None else _percentile(model, judged, activation, images)
    return Evidence(activation, first, share, place, ~(activation > floor))


def measure(model: Model, objective: Objective, every: Sequence[Array], resize: Resize | None = None) -> list[Array]:
    """The objective (N,), float64, of several sets of pictures (N, C, H, W) in 0..1 as they are; as many sets in one
    pass as fit."""
    ops, count, names = model.ops, len(every[0]), objective.layers()
    together = max(1, batching.fitting(model) // count)
    found: list[Tensor] = []
    memory: dict[Any, Tensor] = {}
    for start in range(0, len(every), together):
        values = np.concatenate(every[start : start + together])
        pictures = ops.asarray(values)
        x = ops.asarray(pixels.normalise(values, model.spec))
        if resize is not None:
            x = resize(ops, x, None)
        kept = model.forward(x, names) if names else {}
        for k in range(0, len(values), count):
            own = {name: one[k : k + count] for name, one in kept.items()}
            found.append(objective.value(Seen(model, own, pictures[k : k + count], None, x[k : k + count], memory)))
    return list(ops.numpy(ops.concat(found)).astype(np.float64).reshape(len(every), count))


def shifted(values: Array, down: int, across: int) -> Array:
    """(N, C, H, W) moved by so many pixels; edges are repeated."""
    height, width = values.shape[-2:]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - across, 0, width - 1)
    return np.asarray(values[..., rows[:, None], columns])


def _percentile(model: Model, objective: Objective, activation: Array, images: ImageInput) -> Array:
    """Where each activation stands among those of real pictures, in percent."""
    listed = list(images) if isinstance(images, list | tuple) else [images]
    count, ops = len(activation), model.ops
    names = objective.layers()
    below = np.zeros(count)
    for one in listed:
        batch = pixels.prepare(one, model.spec)
        x = ops.asarray(batch.tensor)
        kept = {name: ops.concat([value] * count) for name, value in model.forward(x, names).items()} if names else {}
        shown = ops.asarray(np.repeat(pixels.denormalise(batch.tensor, model.spec), count, axis=0))
        found = ops.numpy(objective.value(Seen(model, kept, shown, None, x)))
        below += found < activation
    return np.asarray(100.0 * below / len(listed))
