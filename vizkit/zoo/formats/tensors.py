"""What a ``.pth`` pickle describes, a tensor as a view of a storage, and the array that it becomes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vizkit.zoo.formats.kinds import Array, Kind, shown
from vizkit.zoo.formats.source import Source

_MAX_DIMENSIONS = 32
_MARGIN = 4 << 20


@dataclass(frozen=True)
class Storage:
    """``count`` elements of one type; ``start`` and ``length`` select the part that a legacy storage view shows."""

    key: str
    kind: Kind
    count: int
    start: int = 0
    length: int = -1


@dataclass(frozen=True)
class TensorRef:
    """A tensor before its data is read: ``offset``, ``shape`` and ``strides`` count elements of ``storage``."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def integers(values: object) -> tuple[int, ...] | None:
    """``values`` as a tuple of non-negative integers, or None where it is anything else."""
    if not isinstance(values, (tuple, list)) or len(values) > _MAX_DIMENSIONS:
        return None
    checked = tuple(value for value in values if isinstance(value, int) and not isinstance(value, bool) and value >= 0)
    return checked if len(checked) == len(values) else None


class Tensors:
    """Turns references into arrays. ``place(storage)`` puts ``source`` at a storage's data and returns its CRC-32."""

    def __init__(self, source: Source, place: Callable[[Storage], int], *, swapped: bool = False) -> None:
        self._source = source
        self._place = place
        self._swapped = swapped
        self._storages: dict[str, Array] = {}
        self._copied = 0

    def array(self, name: str, ref: TensorRef) -> Array:
        """The tensor's values, C-contiguous.

        A tensor that lies contiguously in its storage is a view of it, as in PyTorch: two names of one storage
        (tied weights) share memory. Other strides are copied, up to about the size of the file in all: an expanded
        tensor can claim any number of elements from a single one.

        Raises:
            WeightsError: the tensor reaches outside its storage, or the copies exceed the file.
        """
        corrupt = self._source.corrupt
        sizes, strides, offset = ref.shape, ref.strides, ref.offset
        if len(sizes) != len(strides):
            raise corrupt(f"tensor {shown(name)} has {len(sizes)} dimensions and {len(strides)} strides")
        storage = self._storage(ref.storage)
        if 0 in sizes:
            if math.prod(size for size in sizes if size) >= 1 << 40:
                raise corrupt(f"tensor {shown(name)} claims a shape that no array can have")
            return np.empty(sizes, storage.dtype)
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        if last >= len(storage):
            raise corrupt(f"tensor {shown(name)} reaches outside its storage of {len(storage)} elements")
        steps = [stride * storage.itemsize if size > 1 else 0 for size, stride in zip(sizes, strides, strict=True)]
        view: Array = np.lib.stride_tricks.as_strided(storage[offset:], sizes, steps)
        if view.flags.c_contiguous:
            return view
        self._copied += math.prod(sizes) * ref.storage.kind.itemsize
        if self._copied > self._source.size + _MARGIN:
            raise corrupt(f"tensor {shown(name)} expands its storage to more than the file itself")
        return np.array(view, order="C")

    def _storage(self, storage: Storage) -> Array:
        """All elements of a storage, read once."""
        if storage.key not in self._storages:
            crc = self._place(storage)
            self._storages[storage.key] = self._source.numbers(
                storage.kind, storage.count, swapped=self._swapped, crc=crc
            )
        whole = self._storages[storage.key]
        if storage.length < 0:
            return whole
        if storage.start + storage.length > len(whole):
            raise self._source.corrupt("a storage view reaches outside its storage")
        return whole[storage.start : storage.start + storage.length]
