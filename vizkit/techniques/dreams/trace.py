"""What a loop reports of each step, read a few steps at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...contract.backend import Array, Ops, Tensor

AHEAD = 8
"""Steps that are under way before the host waits for their values: a device works on while the host prepares the next
step, and would stand still at every reading."""

Diverged = Callable[[int, Array, Tensor], Exception]


class Trace:
    """Rows of values (N,), native, one row for each step. ``diverged(step, values, state)`` makes the error that is
    raised where the first row of a step, counted from 0, is not finite; ``state`` is what :meth:`add` got with it."""

    def __init__(self, ops: Ops, diverged: Diverged) -> None:
        self._ops = ops
        self._diverged = diverged
        self._waiting: list[tuple[Tensor, tuple[Tensor, ...]]] = []
        self.rows: list[Array] = []
        """(rows, N) of every step that was read."""

    def add(self, state: Tensor, *values: Tensor) -> None:
        """A step's rows, and what there was before it; may raise the error of a step before."""
        self._waiting.append((state, values))
        if len(self._waiting) >= AHEAD:
            self.read()

    def read(self) -> None:
        """Wait for all steps."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        count, size = len(waiting[0][1]), int(waiting[0][1][0].shape[0])
        every = self._ops.concat([value for _, values in waiting for value in values])
        found = self._ops.numpy(every).reshape(len(waiting), count, size)
        for (state, _), rows in zip(waiting, found, strict=True):
            if not np.isfinite(rows[0]).all():
                raise self._diverged(len(self.rows), rows[0], state)
            self.rows.append(rows)
