"""Rows that come one after the other, on disk where they are many."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from typing import IO

import numpy as np

from ..contract.backend import Array
from ..contract.errors import SettingError

LIMIT = 16 << 20
"""Bytes of rows that are kept in memory."""


class Rows:
    """Arrays (n, ...) of one kind, joined along the first axis. Beyond :data:`LIMIT` bytes they lie in a temporary file
    (`TMPDIR` says where), which goes when nobody uses them any more."""

    def __init__(self) -> None:
        self.kept: list[Array] = []
        self.file: IO[bytes] | None = None
        self.count = self.bytes = 0

    def append(self, rows: Array) -> None:
        """Further rows, of the shape and type of the first. Raises SettingError where the disk is full."""
        rows = np.ascontiguousarray(rows)
        self.count, self.bytes = self.count + len(rows), self.bytes + rows.nbytes
        self.kept.append(rows)
        if self.bytes <= LIMIT:
            return
        try:
            if self.file is None:
                self.file = tempfile.TemporaryFile(prefix="vizkit-")  # noqa: SIM115 it lives as long as the rows
            for one in self.kept:
                self.file.write(one.data)
            self.file.flush()
        except OSError as error:
            raise SettingError(
                f"{self.count} rows of {rows[0].nbytes} bytes cannot be written to {tempfile.gettempdir()}: "
                f"{error.strerror or error}. Set TMPDIR to a folder with more room."
            ) from None
        self.kept = [rows[:0].copy()]  # says shape and type

    def array(self) -> Array:
        """All rows, (count, ...); mapped from the file where they lie there. What is written to it stays in memory."""
        if self.file is None:
            self.kept = [np.concatenate(self.kept)]
            return self.kept[0]
        like = self.kept[0]
        shape = (self.count, *like.shape[1:])
        if not math.prod(shape):
            return np.empty(shape, like.dtype)
        return np.memmap(self.file, like.dtype, mode="c", shape=shape)


class Spilled:
    """Rows under names, as a reader of pictures gathers them."""

    grows = True

    def __init__(self, *names: str) -> None:
        self.rows = {name: Rows() for name in names}

    def state(self) -> dict[str, Array]:
        return {name: one.array() for name, one in self.rows.items()}

    def merge(self, part: Mapping[str, Array]) -> None:
        for name, one in self.rows.items():
            one.append(part[name])
