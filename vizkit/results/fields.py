"""Receptive fields."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from ..contract.backend import Array
from ..inputs.images import Batch
from ..support import columns
from .base import Result


@dataclass(frozen=True)
class Axis:
    """The pixels ``low`` to ``high``, included, of the first unit, and the pixels from one unit to the next."""

    low: Fraction
    high: Fraction
    stride: Fraction

    def through(self, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
        """The axis after a convolution or pool."""
        low = self.low - padding * self.stride
        return Axis(low, self.high + ((kernel - 1) * dilation - padding) * self.stride, self.stride * stride)

    def scaled(self, before: Fraction, after: Fraction, factor: Fraction) -> Axis:
        """The axis of a result ``1 / factor`` times as long, whose unit i reads i * factor - before to + after."""
        low, high = self.low - before * self.stride, self.high + after * self.stride
        return Axis(low, high, self.stride * factor)


@dataclass(frozen=True)
class Field:
    """Which pixels a layer's units see, for (height, width). ``size`` in pixels, ``stride`` in pixels between
    neighbouring units, ``start`` the first unit's first pixel, negative in the padding. ``whole`` says that every unit
    sees the whole picture, and ``known`` is false behind an operation of which vizkit does not know what it reads."""

    axes: tuple[Axis, Axis] | None
    whole: bool = False
    known: bool = True
    places: tuple[int, int] = (2, 3)

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width in pixels; None of a field that is the whole picture, or unknown."""
        if self.axes is None:
            return None
        down, right = (math.ceil(one.high - one.low) + 1 for one in self.axes)
        return down, right

    @property
    def stride(self) -> tuple[float, float] | None:
        """Pixels from one unit to the next, down and to the right."""
        return None if self.axes is None else (float(self.axes[0].stride), float(self.axes[1].stride))

    @property
    def start(self) -> tuple[float, float] | None:
        """The first pixel (row, column) of the unit at (0, 0)."""
        return None if self.axes is None else (float(self.axes[0].low), float(self.axes[1].low))

    def box(self, row: int, column: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the pixels that the unit at (row, column) sees, within a picture of ``size``
        (height, width); bottom and right are not included. The whole picture where the field is that, or unknown."""
        if self.axes is None:
            return 0, 0, size[0], size[1]
        ends = []
        for one, at, most in zip(self.axes, (row, column), size, strict=True):
            low, high = math.floor(one.low + at * one.stride), math.ceil(one.high + at * one.stride) + 1
            ends.append((min(max(low, 0), most), max(min(high, most), 0)))
        (top, bottom), (left, right) = ends
        return top, left, bottom, right

    def text(self) -> str:
        """The size in words: "11 x 11", "whole image" or "unknown"."""
        if self.size is None:
            return "whole image" if self.known else "unknown"
        return f"{self.size[0]} x {self.size[1]}"


WHOLE = Field(None, whole=True)
UNKNOWN = Field(None, known=False)


@dataclass(frozen=True, repr=False)
class ReceptiveFields(Result):
    """``values`` (L, H, W) float64 >= 0: for each of L layers the gradient of its middle unit, each layer's largest
    value 1 (all zero where the unit does not react). ``layers`` their names, ``theoretical`` their fields; ``units``
    the (row, column) of the middle unit, (0, 0) of a dense layer; ``boxes`` (top, left, bottom, right) of what that
    unit can see, within the picture; ``sizes`` the effective size in pixels."""

    layers: tuple[str, ...]
    theoretical: tuple[Field, ...]
    units: tuple[tuple[int, int], ...]
    boxes: tuple[tuple[int, int, int, int], ...]
    sizes: tuple[float, ...]
    batch: Batch
    stored: ClassVar[tuple[str, ...]] = ("values", "layers", "boxes", "sizes")

    def arrays(self) -> dict[str, Array]:
        return super().arrays() | {"pictures": self.batch.pictures}

    def records(self) -> list[dict[str, Any]]:
        """A row a layer: the theoretical size and stride, the middle unit's box within the picture, the effective
        size in pixels."""
        return [
            {"layer": name, "size": field.size, "stride": field.stride}
            | dict(zip(("top", "left", "bottom", "right"), box, strict=True))
            | {"effective": size}
            for name, field, box, size in zip(self.layers, self.theoretical, self.boxes, self.sizes, strict=True)
        ]

    def table(self, width: int | None = None) -> str:
        """A line for each layer: the theoretical size, the stride, the middle unit's pixels, the effective size;
        several where one is longer than ``width``."""
        made, rows = self.provenance, []
        for name, field, box, size in zip(self.layers, self.theoretical, self.boxes, self.sizes, strict=True):
            stride = "" if field.stride is None else f"{field.stride[0]:g} x {field.stride[1]:g}"
            top, left, bottom, right = box
            seen = f"{top}..{bottom - 1}", f"{left}..{right - 1}"
            rows.append((name, field.text(), stride, *seen, f"{size:.1f} px"))
        head = ("layer", "theoretical", "stride", "rows", "columns", "effective")
        title = f"{made['model']} in {made['backend']}: the unit in the middle of each layer"
        return "\n".join([title, *columns.laid([head, *rows], (5,), width)])
