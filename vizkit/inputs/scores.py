"""Which number of a network's output is meant, as an object: a class, a place, a box, a similarity, a unit.

Scores can be added, subtracted and multiplied by numbers: ``Class("cat") - Class("dog")``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ..contract.backend import OUTPUT, Model, Ops, Tensor
from ..contract.errors import SettingError
from ..contract.units import units_of
from . import images, outputs
from .images import ImageInput
from .outputs import CORNERS, Column, Dense, Of

PREDICTED = "predicted"


class Score(ABC):
    """A number for each picture, from a network's output."""

    @abstractmethod
    def bound(self, model: Model, logits: Tensor | None) -> Column:
        """This score on a network, for a picture whose output (1, ...) is given; None stands for any picture.

        Raises SettingError or UnknownNameError where the network's output has no such thing.
        """

    @property
    def own(self) -> bool:
        """Whether it depends on the picture which of its outputs is meant."""
        return False

    def __add__(self, other: Score) -> Score:
        return Sum(((1.0, self), (1.0, other)))

    def __sub__(self, other: Score) -> Score:
        return Sum(((1.0, self), (-1.0, other)))

    def __mul__(self, factor: float) -> Score:
        return Sum(((float(factor), self),))

    __rmul__ = __mul__

    def __neg__(self) -> Score:
        return self * -1.0


@dataclass(frozen=True, eq=False)
class Sum(Score):
    """What adding and multiplying scores gives."""

    terms: tuple[tuple[float, Score], ...]

    @property
    def own(self) -> bool:
        return any(score.own for _, score in self.terms)

    def bound(self, model: Model, logits: Tensor | None) -> Column:
        columns = [(factor, score.bound(model, logits)) for factor, score in self.terms]
        layers = tuple(dict.fromkeys(name for _, one in columns for name in one.layers))

        def of(ops: Ops, *activations: Tensor) -> Tensor:
            kept = dict(zip(layers, activations, strict=True))
            parts = [factor * one.score(ops, kept) for factor, one in columns]
            return sum(parts[1:], parts[0])

        return Column(" ".join(_term(factor, one.label, i) for i, (factor, one) in enumerate(columns)), of, layers)


def _term(factor: float, label: str, i: int) -> str:
    sign = "- " if factor < 0 else "+ " if i else ""
    return f"{sign}{label}" if abs(factor) == 1 else f"{sign}{abs(factor):g} * {label}"


@dataclass(frozen=True, eq=False)
class Class(Score):
    """The logit of a class: an index or a label. Of a network with logits at every place, a segmentation, their sum
    over all places, or over those that are meant: ``at=(row, column)``, ``box=(left, top, right, bottom)``, both in
    pixels of the picture as the network sees it, ``mask`` (h, w) in the size of that or of the output, each place
    counted with the mask's value there; or :data:`PREDICTED` as mask, the places at which this class is the first."""

    target: int | str
    at: tuple[int, int] | None = None
    box: tuple[float, float, float, float] | None = None
    mask: npt.ArrayLike | str | None = None

    def bound(self, model: Model, logits: Tensor | None) -> Column:
        dense = Dense.of(model)
        index = model.spec.index(self.target, dense.classes)
        label = model.spec.label(index)
        said = [one for one in (self.at, self.box, self.mask) if one is not None]
        if len(said) > 1:
            raise SettingError(f"Class({self.target!r}): give one of at=, box= and mask=.")
        if said and dense.size is None:
            raise SettingError(
                f"{self} asks for a place, and the output of {model.name}, {model.output_shape}, has none. Give the "
                "class alone."
            )
        if isinstance(self.mask, str) and self.mask == PREDICTED:
            return Column(f"{label} where it is predicted", partial(outputs.predicted, dense, index))
        if not said:
            return Column(label, partial(outputs.picked, dense, index))
        mask, where = outputs.weights_of(self.at, self.box, self.mask, model.spec.size, dense.size or (1, 1))
        return Column(f"{label} {where}", partial(outputs.masked, dense, index, mask))


@dataclass(frozen=True, eq=False)
class Similarity(Score):
    """The cosine between the network's output for a picture, flat, and that for another one, ``reference``."""

    reference: ImageInput
    fit: str = "crop"

    def bound(self, model: Model, logits: Tensor | None) -> Column:
        batch = images.prepare(self.reference, model.spec, fit=self.fit)
        if len(batch) != 1:
            raise SettingError(f"Similarity to {len(batch)} pictures: give one.")
        output = model.ops.numpy(model.forward(model.ops.asarray(batch.tensor))[OUTPUT]).astype(np.float64).ravel()
        length = float(np.linalg.norm(output))
        if length == 0:
            raise SettingError(f"The output of {model.name} for {batch.names[0]} is zero, so nothing is similar to it.")
        return Column(f"similarity to {batch.names[0]}", partial(outputs.cosine, output / length))


@dataclass(frozen=True, eq=False)
class Detection(Score):
    """The score of a detector's box. ``Detection(0)`` is the surest one in a picture, ``Detection(0, "dog")`` the
    surest dog; ``box=(left, top, right, bottom)``, in pixels of the picture as the network sees it, says it itself. In
    a changed picture it is the box that covers it best, half of both together at least, with the same class; there may
    be none, and the score is 0."""

    index: int = 0
    target: int | str | None = None
    box: tuple[float, float, float, float] | None = None

    @property
    def own(self) -> bool:
        return self.box is None or self.target is None

    def bound(self, model: Model, logits: Tensor | None) -> Column:
        if not model.detects:
            raise SettingError(f"{model.name} detects no boxes; its output is {model.output_shape}.")
        classes = model.output_shape[2] - CORNERS
        index = None if self.target is None else model.spec.index(self.target, classes)
        box = self.box
        if box is None or index is None:
            assert logits is not None
            found = model.ops.numpy(logits)[0].astype(np.float64)
            scores = found[:, CORNERS:] if index is None else found[:, [CORNERS + index]]
            best = np.argsort(-scores.max(axis=1), kind="stable")
            if box is not None:
                best = np.argsort(-outputs.overlaps(found[:, :CORNERS], box), kind="stable")
            if not self.index < int((scores.max(axis=1) > 0).sum()):
                raise SettingError(
                    f"{model.name} finds {int((scores.max(axis=1) > 0).sum())} such boxes in this picture; {self} "
                    "asks for one more. Look at model.detections(image)."
                )
            row = found[best[self.index]]
            box = tuple(row[:CORNERS].tolist())
            index = int(row[CORNERS:].argmax()) if index is None else index
        label = f"{model.spec.label(index)} in the box " + ", ".join(f"{one:.0f}" for one in box)
        return Column(label, partial(outputs.detected, np.array(box), index))


@dataclass(frozen=True, eq=False)
class Function(Score):
    """Any function of the network's output: ``function(ops, output)`` gives (N,) from (N, ...), both native, with the
    functions of :class:`vizkit.ops.Ops`, so that it works in every backend."""

    function: Of
    name: str = "function"

    def bound(self, model: Model, logits: Tensor | None) -> Column:
        return Column(self.name, self.function)


@dataclass(frozen=True, eq=False)
class Unit(Score):
    """The activation of a layer's unit, a channel or a number of a dense layer: at ``at``, a row and a column of the
    layer's own maps, or added up over all places."""

    layer: str
    index: int
    at: tuple[int, ...] | None = None

    def bound(self, model: Model, logits: Tensor | None) -> Column:
        units = units_of(model, self.layer)
        units.chosen(self.index)
        grid = units.grid
        places = () if grid is None else grid.extent or (grid.height, grid.width)
        name, at = f"unit {self.index} of {self.layer}", self.at
        if at is None:
            return Column(name, partial(outputs.neuron, grid, self.index, None), (self.layer,))
        if not places or len(at) != len(places) or not all(0 <= a < b for a, b in zip(at, places, strict=True)):
            maps = f"{' x '.join(map(str, places))} places" if places else "no places"
            raise SettingError(f"{name} at {at}: the layer has {maps}. Give one of them, counted from 0, or none.")
        of = partial(outputs.neuron, grid, self.index, int(np.ravel_multi_index(at, places)))
        return Column(f"{name} at {'/'.join(map(str, at))}", of, (self.layer,))
