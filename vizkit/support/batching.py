"""Running many samples through a network in batches that fit into memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from ..contract.backend import Model
from ..contract.errors import SettingError
from .progress import steps_bar

BUDGET = 1 << 30
"""Bytes of activations that a batch may hold where nobody knows how much there is."""
LEAST = 4
"""Samples up to which it may hold twice as much, since weights are read once for each batch: ResNet152 takes 6 to 20 %
longer for two images at a time than for four."""
MOST = 32
"""Samples beyond which a larger batch gains nothing on a CPU."""
MOST_ON_DEVICE = 128
"""The same on a device that says how much memory it has left."""
SHARE = 0.5
"""The part of what is left that a batch may take."""
Made = TypeVar("Made")


def activations(model: Model) -> int:
    """Bytes of one sample's activations, with what their gradients need."""
    size = 8 if model.dtype == "float64" else 4
    return max(1, 2 * size * sum(math.prod(layer.shape[1:]) for layer in model.layers.values()))


def fitting(model: Model) -> int:
    """Samples that fit into the memory that the device has left, or into :data:`BUDGET`."""
    one, left = activations(model), model.ops.memory()
    if left is not None:
        return max(1, min(MOST_ON_DEVICE, int(SHARE * left) // one))
    return max(1, min(MOST, max(BUDGET // one, min(LEAST, 2 * BUDGET // one))))


def run(
    model: Model,
    total: int,
    batch_size: int | None,
    step: Callable[[int, int], None],
    label: str,
) -> int:
    """Call ``step(start, stop)`` over ``range(total)`` in batches, with a progress bar; returns the last batch size.

    ``batch_size=None`` takes :func:`fitting`. When a step runs out of memory it is repeated in halves, down to single
    samples, so a step must change nothing before it has succeeded.
    """
    if batch_size is not None and batch_size < 1:
        raise SettingError(f"batch_size={batch_size}: give at least 1, or None to fit the memory.")
    size = batch_size or (fitting(model) if total > 1 else 1)
    start = 0
    with model.held(), steps_bar(label, total) as advance:
        while start < total:
            stop = min(start + size, total)
            try:
                step(start, stop)
            except Exception as error:
                if not model.ops.is_out_of_memory(error) or stop - start == 1:
                    raise
                size = (stop - start) // 2
                continue
            start = stop
            advance(start, "")
            if start < total:
                model.ops.tidy()
    return size


def collected(
    model: Model, total: int, batch_size: int | None, step: Callable[[int, int], Made], label: str
) -> list[Made]:
    """What ``step(start, stop)`` gives for each batch of :func:`run`, in order."""
    found: list[Made] = []
    run(model, total, batch_size, lambda start, stop: found.append(step(start, stop)), label)
    return found
