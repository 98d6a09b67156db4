"""The units of a layer: its channels, or the numbers of a dense layer, wherever its output has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy import integer

from .errors import LayerError, SettingError, ShapeError
from .grid import Grid, undecided
from .model import Model
from .ops import Ops, Tensor


@dataclass(frozen=True)
class Units:
    """So many units of a layer, and how they cover the picture; None where each is a single number."""

    layer: str
    count: int
    grid: Grid | None

    @property
    def places(self) -> tuple[int, int]:
        """Rows and columns of each unit's map."""
        return (1, 1) if self.grid is None else (self.grid.height, self.grid.width)

    @property
    def axis(self) -> int:
        """Where the layer's output has its units: 1, or -1."""
        return 1 if self.grid is None or self.grid.order == "NCHW" else -1

    def first(self, ops: Ops, found: Tensor) -> Tensor:
        """The layer's output, native, by unit: (N, C, h, w), or (N, C)."""
        grid = self.grid
        if grid is None:
            return found
        if grid.order == "NTC" and found.shape[1] != grid.aside + grid.positions:
            raise ShapeError(f"Layer {self.layer!r} gives {found.shape[1]} tokens here; {grid} does not cover them.")
        return grid.maps(ops, found)

    def whole(self, ops: Ops, found: Tensor) -> Tensor:
        """The same with every place as it lies, tokens that are no part of the picture among them: (N, C, ...)."""
        last = len(found.shape) - 1
        return found if self.axis == 1 else ops.transpose(found, (0, last, *range(1, last)))

    def chosen(self, unit: int | Sequence[int] | None) -> list[int]:
        """Those that ``unit`` means, in that order; None means all. Raises SettingError for none, and for others."""
        if unit is None:
            return list(range(self.count))
        asked = [int(unit)] if isinstance(unit, int | integer) else [int(one) for one in unit]
        wrong = [one for one in asked if not 0 <= one < self.count]
        if wrong or not asked:
            raise SettingError(
                f"Layer {self.layer!r} has units 0 to {self.count - 1}; there is no {', '.join(map(str, wrong))}."
                if wrong
                else f"unit=[]: layer {self.layer!r} has units 0 to {self.count - 1}; name at least one."
            )
        return asked


def find_units(model: Model, layer: str) -> Units | None:
    """A layer's units; None where it has none, or nothing tells along which axis. Raises UnknownNameError."""
    known, grid = model.layer(layer), model.grid(layer)
    if grid is not None:
        return Units(layer, grid.channels, grid)
    return Units(layer, known.shape[1], None) if len(known.shape) == 2 and known.shape[0] == 1 else None


def units_of(model: Model, layer: str) -> Units:
    """The same of a layer that must have some. Raises UnknownNameError; LayerError where nothing tells which axis holds
    the channels, ShapeError where there are none."""
    model.check_layer(layer)
    found = find_units(model, layer)
    if found is None:
        check_order(model, layer)
        raise ShapeError(
            f"Layer {layer!r} of {model.name} gives {model.layer(layer).shape}, which has no units: those are channels "
            "of (1, C, h, w) or (1, h, w, C), or of tokens (1, T, C) that cover the picture, not queries; or numbers "
            f"(1, C). {model.listing} lists what there is."
        )
    return found


def check_order(model: Model, name: str) -> None:
    """Raise LayerError where a layer covers the picture and nothing tells which of its axes holds the channels."""
    shape, size = model.layer(name).shape, model.spec.extent or model.spec.size
    if model.grid(name) is None and len(shape) == 2 + len(size) and undecided(shape, size):
        raise LayerError(
            f"Layer {name!r} of {model.name} gives {shape}, and neither its shape nor the operations before it tell "
            f"which axis holds the channels. Say it: vizkit.wrap(..., layout={{{name!r}: 'NCHW'}}) where they come "
            "first, 'NHWC' where they come last; or name another layer."
        )
