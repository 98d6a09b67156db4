"""How a layer's output becomes feature maps (N, C, h, w): as it is, from (N, h, w, C), or from tokens (N, T, C)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from .errors import SettingError
from .ops import Ops, Tensor

if TYPE_CHECKING:
    from .model import Layer

SET_ASIDE = (0, 1, 2, 5, 9)
"""Tokens before the picture's: a class token, with a distillation token, with four or eight registers."""
CHANNELS_FIRST = ("Conv", "BatchNorm", "MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool")
"""Kinds of layers that know no other order."""


@dataclass(frozen=True)
class Grid:
    """``order`` is "NCHW", "NHWC" or "NTC"; ``aside`` tokens are no part of the picture."""

    order: str
    channels: int
    height: int
    width: int
    aside: int = 0

    @property
    def positions(self) -> int:
        """Of each map."""
        return self.height * self.width

    def maps(self, ops: Ops, x: Tensor) -> Tensor:
        """The layer's output, native, as (N, C, h, w)."""
        if self.order == "NCHW":
            return x
        if self.order == "NTC":
            x = ops.reshape(x[:, self.aside :], (-1, self.height, self.width, self.channels))
        return ops.transpose(x, (0, 3, 1, 2))

    def back(self, ops: Ops, maps: Tensor) -> Tensor:
        """Maps as the layer puts them out; what was set aside is zero."""
        if self.order == "NCHW":
            return maps
        x = ops.transpose(maps, (0, 2, 3, 1))
        if self.order == "NHWC":
            return x
        x = ops.reshape(x, (-1, self.positions, self.channels))
        return ops.concat([ops.zeros((int(x.shape[0]), self.aside, self.channels)), x], 1) if self.aside else x


@lru_cache(maxsize=4096)
def grid_of(layer: Layer, size: tuple[int, int]) -> Grid | None:
    """How this layer's output covers a picture of ``size``; None where it does not.

    Channels come first, unless only what they come last in has the picture's proportions. (1, T, C) are tokens where T,
    less some that may be set aside, fill a grid with these proportions.
    """
    shape = layer.shape
    if shape[0] != 1:
        return None
    if len(shape) == 4:
        _, first, second, third = shape
        last = not _fits((second, third), size) and _fits((first, second), size)
        if last and not layer.kind.startswith(CHANNELS_FIRST):
            return Grid("NHWC", third, first, second)
        return Grid("NCHW", first, second, third)
    if len(shape) == 3 and not layer.kind.startswith(CHANNELS_FIRST):
        return _tokens(shape, size)
    return None


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


def _fits(grid: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether cells are as high as wide, but for one that hangs over an edge."""
    cell = max(size[0] / grid[0], size[1] / grid[1])
    return all(abs(side / cell - count) < 1 for side, count in zip(size, grid, strict=True))


def laid_out(layout: Mapping[str, str | Grid], layers: Mapping[str, Layer], size: tuple[int, int]) -> dict[str, Grid]:
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
        if said == "NTC" and len(shape) == 3:
            grid = _tokens(shape, size)
        elif said in ("NCHW", "NHWC") and len(shape) == 4:
            channels, height, width = shape[1:] if said == "NCHW" else (shape[3], *shape[1:3])
            grid = Grid(said, channels, height, width)
        if grid is None:
            raise SettingError(
                f"layout={said!r} for the layer {name!r}, which gives {shape}: expected 'NCHW' or 'NHWC' for (1, ., ., "
                ".), 'NTC' for tokens (1, T, C) of a picture in its proportions, or a vizkit.grid.Grid."
            )
        found[name] = grid
    return found
