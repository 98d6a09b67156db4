"""Seeing cheaply whether tensors were written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vizkit.contract.backend import SAMPLES

from .modules import same
from .record import Tape


class Watch:
    """Looks at the same tensors again and again. A write through ``.data`` leaves a tensor's version as it is, so some
    :data:`vizkit.backend.SAMPLES` values of each are read as well, all of them at once."""

    def __init__(self, device: str) -> None:
        self._tape = None if device == "cpu" else Tape(device)
        self._recorded: Any = None
        """A graph that brings the values together, and where."""
        self._given: Sequence[torch.Tensor] = ()
        self._seen: list[torch.Tensor] = []
        self._places: list[int] = []
        self._views: list[torch.Tensor] = []
        self._changes = 0

    def state(self, tensors: Sequence[torch.Tensor]) -> object:
        """What differs, compared with ``==``, once another tensor is among ``tensors`` or one of them was written.
        Whole numbers, such as counts of batches, do not matter."""
        replaced = not same(tensors, self._given)
        if replaced:
            self._given, self._seen = tensors, [one for one in tensors if one.is_floating_point()]
        places = [tensor.data_ptr() for tensor in self._seen]
        if replaced or places != self._places:
            self._places = places
            self._views = [thin(tensor.detach()) for tensor in self._seen]
            self._changes += 1
            self._recorded = None
        return self._changes, [tensor._version for tensor in self._seen], self._values()

    def _values(self) -> bytes:
        seen: bytes = self._together().cpu().numpy().tobytes() if self._views else b""
        return seen

    def _together(self) -> torch.Tensor:
        """The values in one tensor. Hundreds of small copies: on a device they are recorded, after the first time."""

        def together() -> torch.Tensor:
            return torch.cat(self._views).double()

        if self._tape is None or self._recorded is None:
            self._recorded = ()
            return together()
        if not self._recorded:
            self._recorded = self._tape.record(together)
        graph, made = self._recorded
        graph.replay()
        held: torch.Tensor = made
        return held


def thin(tensor: torch.Tensor) -> torch.Tensor:
    """A view of some values, in the order in which they lie in memory; of one with gaps there, of the first."""
    filled = tensor.is_contiguous() or tensor.permute(_order(tensor)).is_contiguous()
    return tensor.as_strided((tensor.numel() if filled else 1,), (1,))[:: max(1, tensor.numel() // SAMPLES)]


def _order(tensor: torch.Tensor) -> list[int]:
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda axis: -strides[axis])
