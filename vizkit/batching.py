"""Running many samples through a network in batches that fit into memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from .backend import Array, Model
from .errors import SettingError
from .progress import Advance, steps_bar

BUDGET = 1 << 30
"""Bytes of activations that a batch may hold when nobody gives a batch size."""
LEAST = 4
"""Samples up to which it may hold twice as much, since weights are read once for each batch: ResNet152 takes 6 to 20 %
longer for two images at a time than for four."""
MOST = 32
"""Samples beyond which a larger batch gains nothing on a CPU."""


def fitting(model: Model) -> int:
    """Samples whose activations, with what their gradients need, fit into :data:`BUDGET`; at most :data:`MOST`."""
    size = 8 if model.dtype == "float64" else 4
    one = max(1, 2 * size * sum(math.prod(layer.shape[1:]) for layer in model.layers.values()))
    return max(1, min(MOST, max(BUDGET // one, min(LEAST, 2 * BUDGET // one))))


class Ahead:
    """Makes each batch of inputs while the network is busy with the one before: ``make(start, stop)`` for ranges that
    follow each other up to ``total``. ``make`` runs in another thread, so it must not call a framework."""

    def __init__(self, make: Callable[[int, int], Array], total: int) -> None:
        self._make = make
        self._total = total
        self._pool = ThreadPoolExecutor(1)
        self._coming: tuple[tuple[int, int], Future[Array]] | None = None

    def take(self, start: int, stop: int) -> Array:
        """The inputs of this batch; another range than expected, as after a halved batch, is made at once."""
        awaited = self._coming
        made = awaited[1].result() if awaited is not None and awaited[0] == (start, stop) else self._make(start, stop)
        following = stop, min(2 * stop - start, self._total)
        self._coming = (following, self._pool.submit(self._make, *following)) if stop < self._total else None
        return made

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)


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
    with model.held(), steps_bar(label, total) as advance:
        return _run(model, total, size, step, advance)


def _run(model: Model, total: int, size: int, step: Callable[[int, int], None], advance: Advance) -> int:
    start = 0
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
