"""Where the classes lie in a network's output, and how a number for each picture is read there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..contract.backend import OUTPUT, Array, Leaves, Model, Ops, Tensor
from ..contract.errors import SettingError, ShapeError
from ..contract.grid import Grid

OVERLAP = 0.5
"""How much a detected box must have in common with the one that is meant: intersection over union."""
CORNERS = 4
"""Numbers before the classes' scores in a row of a detector's output: left, top, right, bottom."""
Of = Callable[[Ops, Tensor], Tensor]
"""From a network's output (N, ...) to scores (N,), native."""


@dataclass(frozen=True, eq=False)
class Column:
    """A score on a network: its name, and how it is computed of the activations of ``layers``, in their order."""

    label: str
    of: Callable[..., Tensor]
    layers: tuple[str, ...] = (OUTPUT,)

    def score(self, ops: Ops, kept: Leaves) -> Tensor:
        """(N,), of activations by name."""
        return self.of(ops, *(kept[name] for name in self.layers))


@dataclass(frozen=True)
class Dense:
    """Where the classes lie in a network's output: (N, C), or with places (N, C, h, w) or (N, h, w, C); in that of a
    detector, (N, boxes, 4 + C)."""

    classes: int
    size: tuple[int, int] | None = None
    order: str = "NC"

    @classmethod
    def of(cls, model: Model) -> Dense:
        """That of a model. Raises ShapeError for an output of another form."""
        shape = model.output_shape
        if model.detects:
            return cls(shape[2] - CORNERS, None, "boxes")
        if len(shape) == 2:
            return cls(shape[1])
        grid = model.grid(OUTPUT)
        if grid is not None and (not grid.aside or OUTPUT in model.layout):  # tokens set aside answer for no place
            return cls(grid.channels, (grid.height, grid.width), grid.order)
        if len(shape) < 3:
            raise ShapeError(f"{model.name} gives an output of shape {shape}; a target needs (N, classes, ...).")
        return cls(shape[1], (int(np.prod(shape[2:-1])), shape[-1]), "NC...")

    def check_classes(self, model: Model) -> None:
        """Raise SettingError where nothing tells which axis of a picture's output holds the classes."""
        shape = model.output_shape
        if self.order != "NC..." or model.spec.extent or len(shape) != 3 or len(model.spec.labels or ()) == shape[1]:
            return
        raise SettingError(
            f"{model.name} gives an output of shape {shape}, and nothing tells which axis holds the classes. Say what "
            "is meant when it is wrapped: output=lambda result: result[:, 3] of one step or query, (N, classes), or "
            "labels= where the second axis has the classes; or take target=vizkit.targets.Function(...)."
        )

    def places(self, ops: Ops, output: Tensor) -> Tensor:
        """(N, C, h * w)."""
        height, width = self.size or (1, 1)
        if self.order == "NHWC":
            return ops.transpose(ops.reshape(output, (-1, height * width, self.classes)), (0, 2, 1))
        if self.order == "NTC":
            return ops.transpose(output[:, -height * width :], (0, 2, 1))
        return ops.reshape(output, (-1, self.classes, height * width))

    def table(self, ops: Ops, output: Tensor) -> Tensor:
        """The scores (N, C) of the classes: logits, their sum over all places, the sum over all boxes."""
        if self.order == "NC":
            return output
        if self.order == "boxes":
            return ops.sum(output[:, :, CORNERS:], 1)
        return ops.sum(self.places(ops, output), 2)

    def first(self, ops: Ops, output: Tensor) -> Tensor:
        """(N, C, h * w): one where a class has the largest logit of a place, else zero."""
        found = ops.transpose(self.places(ops, ops.detach(output)), (0, 2, 1))
        n, places, classes = found.shape
        top = ops.reshape(ops.top(ops.reshape(found, (n * places, classes))), (n, places, classes))
        return ops.transpose(top, (0, 2, 1))


@dataclass(frozen=True)
class Table:
    """The scores (N, K) that one call looks at: the classes of the network, then those that it was given as
    :class:`Score`; and, of the pictures, which of them: None is the sum of all classes, unresolved a None of ``asked``
    the top-1. Where nobody asks for a class, ``output`` is False: theirs are zero, and nothing reads it."""

    dense: Dense
    columns: tuple[Column, ...] = ()
    output: bool = True

    @property
    def width(self) -> int:
        """K."""
        return self.dense.classes + len(self.columns)

    @property
    def reads(self) -> tuple[str, ...]:
        """The activations that it is made of, by name."""
        own = [name for one in self.columns for name in one.layers]
        return tuple(dict.fromkeys([OUTPUT, *own] if self.output else own))

    def __call__(self, ops: Ops, output: Tensor) -> Tensor:
        """Of the network's output alone."""
        return self.scores(ops, {OUTPUT: output})

    def scores(self, ops: Ops, kept: Leaves) -> Tensor:
        """Of the activations that it :attr:`reads`, by name."""
        own = [ops.reshape(one.score(ops, kept), (-1, 1)) for one in self.columns]
        if self.output:
            found = self.dense.table(ops, kept[OUTPUT])
        else:
            found = ops.zeros((int(own[0].shape[0]), self.dense.classes))
        return ops.concat([found, *own], 1) if own else found

    def label(self, model: Model, index: int) -> str:
        """The name of a column."""
        beyond = index - self.dense.classes
        return model.spec.label(index) if beyond < 0 else self.columns[beyond].label

    def probability(self, ops: Ops, table: Tensor, ended: bool) -> Tensor:
        """The classes' columns as probabilities: the softmax over all, the sigmoid of a single one, and themselves
        where the network's own last step makes some (``ended``)."""
        classes = self.dense.classes
        if ended:
            return table
        sure = ops.softmax(table[:, :classes]) if classes > 1 else ops.sigmoid(table[:, :classes])
        return ops.concat([sure, table[:, classes:]], 1) if self.columns else sure


def picked(dense: Dense, index: int, ops: Ops, output: Tensor) -> Tensor:
    return dense.table(ops, output)[:, index]


def predicted(dense: Dense, index: int, ops: Ops, output: Tensor) -> Tensor:
    return ops.sum(dense.places(ops, output)[:, index] * dense.first(ops, output)[:, index], 1)


def masked(dense: Dense, index: int, mask: Array, ops: Ops, output: Tensor) -> Tensor:
    return ops.sum(dense.places(ops, output)[:, index] * ops.constant(np.reshape, mask, (1, -1)), 1)


def neuron(grid: Grid | None, index: int, place: int | None, ops: Ops, activations: Tensor) -> Tensor:
    """A unit of a layer at a place of its grid, or added up over all."""
    if grid is None:
        return activations[:, index]
    maps = grid.maps(ops, activations)[:, index]
    flat = ops.reshape(maps, (-1, grid.positions))
    return ops.sum(flat, 1) if place is None else flat[:, place]


def cosine(direction: Array, ops: Ops, output: Tensor) -> Tensor:
    flat = ops.reshape(output, (-1, len(direction)))
    return ops.sum(flat * ops.constant(np.reshape, direction, (1, -1)), 1) / ops.sqrt(ops.sum(flat * flat, 1))


def overlaps(boxes: Array, box: Sequence[float]) -> Array:
    """Intersection over union of boxes (D, 4) with one."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    both = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + (box[2] - box[0]) * (box[3] - box[1])
    return np.asarray(common / np.maximum(both - common, np.finfo(np.float64).tiny))


def detected(box: Array, index: int, ops: Ops, output: Tensor) -> Tensor:
    corners = ops.detach(output[:, :, :CORNERS])
    scores = output[:, :, CORNERS + index]
    meant = ops.constant(np.reshape, box, (1, 1, CORNERS)) + 0.0 * corners
    low, high = ops.maximum(corners[:, :, :2], meant[:, :, :2]), ops.minimum(corners[:, :, 2:], meant[:, :, 2:])
    sides = ops.maximum(high - low, 0.0)
    common = sides[:, :, 0] * sides[:, :, 1]
    areas = [(one[:, :, 2] - one[:, :, 0]) * (one[:, :, 3] - one[:, :, 1]) for one in (corners, meant)]
    share = common / (areas[0] + areas[1] - common)
    # Among the boxes of this class, the one with the largest share, if that is enough.
    known = ops.where(ops.detach(scores), share, 0.0 * share)
    enough = ops.maximum(known - OVERLAP, 0.0)
    return ops.sum(ops.where(ops.top(known) * enough, scores, 0.0 * scores), 1)


def weights_of(
    at: tuple[int, int] | None,
    box: tuple[float, float, float, float] | None,
    mask: npt.ArrayLike | None,
    picture: tuple[int, int],
    grid: tuple[int, int],
) -> tuple[Array, str]:
    """Weights (h, w) of the places of an output that a pixel, a box or a mask means, and what they are called."""
    if at is not None:
        row, column = at
        if not (0 <= row < picture[0] and 0 <= column < picture[1]):
            raise SettingError(f"at={at}: the picture has {picture[0]} rows and {picture[1]} columns.")
        weights = np.zeros(grid)
        weights[row * grid[0] // picture[0], column * grid[1] // picture[1]] = 1
        return weights, f"at row {row}, column {column}"
    if box is not None:
        left, top, right, bottom = box
        if not (0 <= left < right <= picture[1] and 0 <= top < bottom <= picture[0]):
            raise SettingError(
                f"box={box}: expected left < right and top < bottom inside of {picture[1]} x {picture[0]}."
            )
        rows, columns = (
            np.clip(np.minimum(cells[1:], high) - np.maximum(cells[:-1], low), 0, None) / np.diff(cells)
            for low, high, cells in (
                (top, bottom, np.linspace(0, picture[0], grid[0] + 1)),
                (left, right, np.linspace(0, picture[1], grid[1] + 1)),
            )
        )
        return np.outer(rows, columns), f"in the box {left:g}, {top:g}, {right:g}, {bottom:g}"
    weights = np.asarray(mask, dtype=np.float64)
    if weights.shape not in (grid, picture):
        raise SettingError(f"A mask of shape {weights.shape}: expected the picture's, {picture}, or {grid}.")
    for axis, count in enumerate(grid):
        weights = np.moveaxis(np.tensordot(_shares(weights.shape[axis], count), weights, (1, axis)), 0, axis)
    if not weights.any():
        raise SettingError("The mask of the target is zero everywhere, so that nothing is meant.")
    return weights, "under a mask"


def _shares(source: int, target: int) -> Array:
    """(target, source): of which cells of an axis a coarser or finer one is the mean."""
    edges = np.linspace(0, source, target + 1)
    low, high = np.maximum(edges[:-1, None], np.arange(source)), np.minimum(edges[1:, None], np.arange(1, source + 1))
    return np.asarray(np.clip(high - low, 0, None) / np.diff(edges)[:, None])
