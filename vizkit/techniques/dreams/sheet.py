"""Many small pictures, some at a time, each batch kept when it is finished."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...contract.backend import Array, Model
from ...contract.errors import SettingError
from ...support.progress import steps_bar
from .objective import Objective
from .parametrisations import Fourier
from .render import render
from .top_units import BATCH
from .transforms import Jitter, Pad, Rotate, Scale, Transform

VIEWS: tuple[Transform, ...] = (Pad(4), Jitter(4), Scale(0.9, 1.1), Rotate(5.0), Jitter(4))
"""Lucid's changes of view, for small pictures."""
SMALLEST = 8
"""Pixels of a side."""


def in_batches(
    model: Model,
    aim: Callable[[int, int], Objective],
    count: int,
    *,
    label: str,
    size: int,
    state: str | os.PathLike[str] | None,
    batch_size: int | None = None,
    **options: Any,
) -> tuple[Array, Array, Array]:
    """Pictures (count, C, size, size), what each reached (count,) and whether it failed (count,); ``aim(start, stop)``
    is the objective of those from ``start`` to ``stop``. Beside ``state`` lies each batch under its number. Options as
    :func:`render` has them.

    Raises SettingError for a size or a batch size too small.
    """
    together = BATCH if batch_size is None else batch_size
    if size < SMALLEST or together < 1:
        raise SettingError(f"size={size}, batch_size={batch_size}: take at least {SMALLEST} pixels, and 1.")
    shape, found = Fourier(size, model.spec.channels), []
    with steps_bar(label, count) as advance:
        for start in range(0, count, together):
            stop = min(start + together, count)
            kept = None if state is None else Path(state).with_stem(f"{Path(state).stem}-{start}")
            shown: dict[str, Any] = {"parametrisation": shape, "transforms": VIEWS, "checkpoint": kept}
            found.append(render(model, aim(start, stop), **shown, **options))
            advance(stop, "")
    evidence = [one.evidence for one in found]
    return (
        np.concatenate([one.values for one in found]),
        np.concatenate([one.activation for one in evidence]),
        np.concatenate([one.failed for one in evidence]),
    )
