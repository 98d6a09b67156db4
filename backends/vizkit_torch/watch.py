"""Seeing cheaply whether tensors were written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from vizkit.contract.backend import Array
from vizkit.contract.terms import FACTORS, sums

from .modules import same
from .record import Tape


class Watch:
    """Looks at the same tensors again and again. A write through ``.data``, or an array of NumPy's, leaves a tensor's
    version as it is, so all values are read as well."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._tape = None if device == "cpu" else Tape(device)
        self._recorded: Any = None
        """A graph that brings the sums together, and where."""
        self._given: Sequence[torch.Tensor] = ()
        self._seen: list[torch.Tensor] = []
        self._places: list[int] = []
        self._views: list[torch.Tensor] = []
        self._numbers: list[Array] = []
        """The same on a CPU."""
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
            self._views = [flat(tensor.detach()) for tensor in self._seen]
            self._numbers = list(map(numbers, self._views)) if self._tape is None else []
            self._changes += 1
            self._recorded = None
        return self._changes, [tensor._version for tensor in self._seen], self._values()

    def _values(self) -> bytes:
        if self._tape is None:
            return sums(self._numbers)
        seen: bytes = self._together().cpu().numpy().tobytes() if self._views else b""
        return seen

    def _together(self) -> torch.Tensor:
        """Sums of all the values in one tensor. Hundreds of small steps: they are recorded, after the first time."""

        factors = _factors(self._device)

        def together() -> torch.Tensor:
            return torch.cat([part for one in self._views for part in products(one.reshape(-1), factors)])

        if self._tape is None or self._recorded is None:
            self._recorded = ()
            return together()
        if not self._recorded:
            self._recorded = self._tape.record(together)
        graph, made = self._recorded
        graph.replay()
        held: torch.Tensor = made
        return held


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """A view of all values in the order in which they lie in memory; of one with gaps there, as they are."""
    filled = tensor.is_contiguous() or tensor.permute(_order(tensor)).is_contiguous()
    return tensor.as_strided((tensor.numel(),), (1,)) if filled else tensor


def numbers(tensor: torch.Tensor) -> Array:
    """A view of the values, of those that NumPy does not know of the bits."""
    found: Array = (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return found


@cache
def _factors(device: str) -> torch.Tensor:
    return torch.from_numpy(FACTORS).to(device)


def products(values: torch.Tensor, factors: torch.Tensor) -> list[torch.Tensor]:
    """Of rows of neighbouring values those with ``factors``, and what is left of them as it is."""
    whole = values.numel() - values.numel() % len(factors)
    wide = torch.promote_types(values.dtype, torch.float32)
    return [values[:whole].view(-1, len(factors)).to(wide) @ factors.to(wide), values[whole:].to(wide)]


def _order(tensor: torch.Tensor) -> list[int]:
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda axis: -strides[axis])
