"""How a layer's output becomes feature maps (N, C, h, w): as it is, from (N, h, w, C), or from tokens (N, T, C)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from .errors import SettingError
from .ops import Ops, Tensor, bilinear_matrix
from .spec import InputSpec
from .terms import Layer

SET_ASIDE = (0, 1, 2, 5, 9)
"""Tokens before the picture's: a class token, with a distillation token, with four or eight registers."""
CHANNELS_FIRST = ("Conv", "BatchNorm", "MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool")
"""Kinds of layers that take them so unless they are told otherwise, as some can be."""


@dataclass(frozen=True)
class Grid:
    """``order`` is "NCHW", "NHWC" or "NTC"; ``aside`` tokens are no part of the picture. ``extent`` are the axes of the
    places where they are not two: then "NCHW" and "NHWC" say that channels come first or last, and ``height`` and
    ``width`` how the places lie as a picture."""

    order: str
    channels: int
    height: int
    width: int
    aside: int = 0
    extent: tuple[int, ...] = ()

    @property
    def positions(self) -> int:
        """Of each map."""
        return self.height * self.width

    def maps(self, ops: Ops, x: Tensor) -> Tensor:
        """The layer's output, native, as (N, C, h, w)."""
        if self.order == "NCHW":
            return ops.reshape(x, (-1, self.channels, self.height, self.width)) if self.extent else x
        if self.order == "NTC":
            x = x[:, self.aside :]
        if self.order == "NTC" or self.extent:
            x = ops.reshape(x, (-1, self.height, self.width, self.channels))
        return ops.transpose(x, (0, 3, 1, 2))

    def back(self, ops: Ops, maps: Tensor) -> Tensor:
        """Maps as the layer puts them out; what was set aside is zero."""
        if self.order == "NCHW":
            return ops.reshape(maps, (-1, self.channels, *self.extent)) if self.extent else maps
        x = ops.transpose(maps, (0, 2, 3, 1))
        if self.order == "NHWC":
            return ops.reshape(x, (-1, *self.extent, self.channels)) if self.extent else x
        x = ops.reshape(x, (-1, self.positions, self.channels))
        return ops.concat([ops.zeros((int(x.shape[0]), self.aside, self.channels)), x], 1) if self.aside else x

    def enlarged(self, ops: Ops, maps: Tensor, spec: InputSpec) -> Tensor:
        """(N, K, h, w) at the size of the input, (N, K, H, W), linear along each axis with half-pixel centres."""
        if not self.extent or not spec.extent:
            return ops.resize(maps, spec.size)
        n, k = int(maps.shape[0]), int(maps.shape[1])
        sides = list(self.extent)
        for axis, target in enumerate(spec.extent):
            before, after = n * k * math.prod(sides[:axis]), math.prod(sides[axis + 1 :])
            if sides[axis] != target:
                matrix = ops.constant(bilinear_matrix, sides[axis], target)
                maps = ops.along(ops.reshape(maps, (before, 1, sides[axis], after)), rows=matrix)
                sides[axis] = target
        return ops.reshape(maps, (n, k, *spec.size))


@lru_cache(maxsize=4096)
def undecided(shape: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Whether an output of this shape covers an input with sides ``size`` with its channels first as well as last, or
    in neither way."""
    if shape[0] != 1 or max(shape) == 1:
        return False
    if len(shape) == 2 + len(size):
        return _fits(shape[2:], size) == _fits(shape[1:-1], size)
    if len(shape) != 3 or len(size) != 2:
        return False
    return all(token_grid(count, (size[0], size[1])) is not None for count in shape[1:])


def unlikely(layer: Layer, size: tuple[int, ...]) -> bool:
    """Whether only channels last fit, of a kind of layer that seldom takes them so."""
    shape = layer.shape
    if not layer.kind.startswith(CHANNELS_FIRST) or shape[0] != 1 or len(shape) != 2 + len(size):
        return False
    return _fits(shape[1:-1], size) and not _fits(shape[2:], size)


@lru_cache(maxsize=4096)
def grid_of(layer: Layer, size: tuple[int, ...]) -> Grid | None:
    """How this layer's output covers an input with sides ``size``; None where it does not.

    Channels come first, unless only what they come last in has the picture's proportions. (1, T, C) are tokens where T,
    less some that may be set aside, fill a grid with these proportions.
    """
    shape = layer.shape
    if shape[0] != 1:
        return None
    if len(shape) == 2 + len(size):
        first, last = shape[2:], shape[1:-1]
        swapped = not _fits(first, size) and _fits(last, size) and not layer.kind.startswith(CHANNELS_FIRST)
        return _grid("NHWC", shape[-1], last) if swapped else _grid("NCHW", shape[1], first)
    if len(shape) == 3 and len(size) == 2 and not layer.kind.startswith(CHANNELS_FIRST):
        return _tokens(shape, (size[0], size[1]))
    return None


def arranged(layer: Layer, size: tuple[int, ...], axis: int | None) -> Grid | None:
    """The same where the shape leaves it :func:`undecided`, for channels along ``axis``; None where nobody knows,
    neither the graph nor the kind."""
    shape = layer.shape
    if axis is None and layer.kind.startswith(CHANNELS_FIRST):
        axis = 1
    if len(shape) == 3 and len(size) == 2:
        return None if axis == 1 else _tokens(shape, (size[0], size[1]))
    if axis == len(shape) - 1:
        return _grid("NHWC", shape[-1], shape[1:-1])
    return _grid("NCHW", shape[1], shape[2:]) if axis == 1 else None


def _grid(order: str, channels: int, extent: tuple[int, ...]) -> Grid:
    flat = math.prod(extent[:-1]), extent[-1]
    return Grid(order, channels, *flat, extent=() if len(extent) == 2 else extent)


def token_grid(count: int, size: tuple[int, int]) -> Grid | None:
    """How so many tokens cover a picture of ``size``, each by one number; None where they do not."""
    return _tokens((1, count, 1), size)


def _tokens(shape: tuple[int, ...], size: tuple[int, int]) -> Grid | None:
    for aside in SET_ASIDE:
        for height in range(1, shape[1] - aside + 1):
            width, rest = divmod(shape[1] - aside, height)
            if not rest and width * height > 1 and _fits((height, width), size):
                return Grid("NTC", shape[2], height, width, aside)
    return None


def _fits(grid: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Whether cells have sides of one length, but for one that hangs over an edge; of a signal, whether there are no
    more than it has samples."""
    if len(size) == 1:
        return grid[0] <= size[0]
    cell = max(side / count for side, count in zip(size, grid, strict=True))
    return all(abs(side / cell - count) < 1 for side, count in zip(size, grid, strict=True))


def laid_out(layout: Mapping[str, str | Grid], layers: Mapping[str, Layer], size: tuple[int, ...]) -> dict[str, Grid]:
    """What a user says of how layers cover the picture: "NCHW", "NHWC", "NTC", or a :class:`Grid`.

    Raises SettingError for another word, or where the layer's output is not of that order.
    """
    found = {}
    for name, said in layout.items():
        if isinstance(said, Grid):
            found[name] = said
            continue
        shape = layers[name].shape
        grid = None
        if said == "NTC" and len(shape) == 3 and len(size) == 2:
            grid = _tokens(shape, (size[0], size[1]))
        elif said in ("NCHW", "NHWC") and len(shape) == 2 + len(size):
            grid = _grid(said, *((shape[1], shape[2:]) if said == "NCHW" else (shape[-1], shape[1:-1])))
        if grid is None:
            raise SettingError(
                f"layout={said!r} for the layer {name!r}, which gives {shape}: expected 'NCHW' or 'NHWC' for (1, ., ., "
                ".), 'NTC' for tokens (1, T, C) of a picture in its proportions, or a vizkit.grid.Grid."
            )
        found[name] = grid
    return found
