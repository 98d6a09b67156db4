"""What a target means: which number of a network's output is explained.

Of a classifier that is a class's logit. Of a network with another output it is a :class:`Score`: a class at a pixel, in
a box or under a mask of a segmentation, a detected box, the similarity of an embedding to another picture's, any
function; or a unit of a layer. Scores can be added, subtracted and multiplied by numbers:
``Class("cat") - Class("dog")``.
"""

from __future__ import annotations

import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..contract.backend import OUTPUT, Array, Model, Ops, Tensor
from ..contract.errors import ImageError, LayerError, SettingError
from . import outputs
from .outputs import CORNERS, Column, Dense, Of, Table

if TYPE_CHECKING:
    from .images import Batch, ImageInput

ALL = "all"
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
        from . import images

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
        model.check_layer(self.layer)
        shape, grid = model.layer(self.layer).shape, model.grid(self.layer)
        if grid is None and len(shape) != 2:
            raise LayerError(f"Layer {self.layer!r} of {model.name} gives {shape}; a unit needs channels over places.")
        count = shape[1] if grid is None else grid.channels
        places = () if grid is None else grid.extent or (grid.height, grid.width)
        if not 0 <= self.index < count:
            raise SettingError(f"Layer {self.layer!r} of {model.name} has units 0 to {count - 1}; got {self.index}.")
        name, at = f"unit {self.index} of {self.layer}", self.at
        if at is None:
            return Column(name, partial(outputs.neuron, grid, self.index, None), (self.layer,))
        if not places or len(at) != len(places) or not all(0 <= a < b for a, b in zip(at, places, strict=True)):
            maps = f"{' x '.join(map(str, places))} places" if places else "no places"
            raise SettingError(f"{name} at {at}: the layer has {maps}. Give one of them, counted from 0, or none.")
        of = partial(outputs.neuron, grid, self.index, int(np.ravel_multi_index(at, places)))
        return Column(f"{name} at {'/'.join(map(str, at))}", of, (self.layer,))


Neuron = str | tuple[str, int] | tuple[str, int, int, int]
"""A layer, a unit of it, and perhaps a place in its maps: ``("layer4", 17)``, ``("layer4", 17, 3, 4)``; as a text
``layer4:17``, ``layer4:17@3,4``."""
UNIT = re.compile(r"(.+):(\d+)(?:@(\d+(?:,\d+)*))?")


def unit(neuron: Neuron) -> Unit:
    """A neuron as a target. Raises SettingError for anything else."""
    if isinstance(neuron, str) and UNIT.fullmatch(neuron):
        return _unit_of(neuron)
    layer, *numbers = neuron if isinstance(neuron, tuple | list) else (neuron,)
    if not isinstance(layer, str) or not numbers or not all(isinstance(one, int | np.integer) for one in numbers):
        raise SettingError(
            f"neuron={neuron!r}: expected a layer and a unit, and perhaps a row and a column of the layer's maps, for "
            'example ("layer4", 17) or ("layer4", 17, 3, 4), "layer4:17" or "layer4:17@3,4".'
        )
    index, *at = (int(one) for one in numbers)
    return Unit(layer, index, tuple(at) or None)


def said(neuron: Neuron) -> str | list[Any]:
    """A neuron as the provenance says it."""
    return neuron if isinstance(neuron, str) else list(neuron)


TARGETS = "a class's index (a whole number) or label, 'all', a vizkit.targets.Score, or None"
Wanted = int | str | Score | None
Target = Wanted | Sequence[Wanted]
"""What every technique takes: None (the top-1), a class's index or label, "all", a :class:`Score`, or a list with one
of these for each picture. In a text, ``cat@12,30`` is ``Class("cat", at=(12, 30))``, ``cat@5,5,60,40`` a box,
``cat@predicted`` and ``cat@mask.png`` masks, ``like:photo.jpg`` a :class:`Similarity`, ``box:0`` a
:class:`Detection`, ``unit:layer4:17`` and ``unit:layer4:17@3,4`` a :class:`Unit`, and `` + ``, `` - `` between two of
these, with spaces, what it says."""


def look(model: Model, target: Target, batch: Batch) -> tuple[Table, list[int | str | None], list[Wanted]]:
    """The table of a call; for each picture a column of it, "all", or None for the top-1; and what was asked for.

    Raises UnknownNameError for a class that does not exist, SettingError for a list of the wrong length or a score that
    the network's output cannot have.
    """
    dense = Dense.of(model)
    wanted = [_read(model, one) for one in listed(target, len(batch))]
    columns: list[Column] = []
    known: dict[int, int] = {}
    found: list[int | str | None] = []
    for i, one in enumerate(wanted):
        score: Score | None = one if isinstance(one, Score) else None
        if one is None and dense.order == "boxes":
            score = Detection()
        elif one is None and dense.size is not None:
            found.append(_most(model, dense, batch.tensor[i : i + 1]))
            continue
        if score is None:
            found.append(one)  # type: ignore[arg-type]
            continue
        if score.own or id(score) not in known:
            logits = _output(model, batch.tensor[i : i + 1]) if score.own else None
            columns.append(score.bound(model, logits))
            known[id(score)] = dense.classes + len(columns) - 1
        found.append(known[id(score)])
    asks = any(not isinstance(one, int | np.integer) or one < dense.classes for one in found)
    table = Table(dense, tuple(columns), asks or any(OUTPUT in one.layers for one in columns))
    for one in found:
        _one(model, table, one)
    return table, found, wanted


def _output(model: Model, x: Array) -> Tensor:
    return model.forward(model.ops.asarray(x))[OUTPUT]


def _most(model: Model, dense: Dense, x: Array) -> int:
    """The class that is the first at the most places of a picture."""
    ops = model.ops
    return int(ops.numpy(ops.sum(dense.first(ops, _output(model, x)), 2))[0].argmax())


def _read(model: Model, target: Wanted) -> Wanted:
    """A target that is a text and no label, as the score that it describes; a class's index as a plain number."""
    if not isinstance(target, str | Score | None):
        try:
            return operator.index(target)
        except TypeError:
            raise SettingError(f"target={target!r}: expected {TARGETS}.") from None
    if not isinstance(target, str) or target == ALL or target in (model.spec.labels or ()):
        return target
    parts = re.split(r"\s+([+-])\s+", target.strip())
    if len(parts) == 1 and not re.search(r"@|^like:|^box:|^unit:", target):
        return target
    total = _term_of(parts[0])
    for sign, text in zip(parts[1::2], parts[2::2], strict=True):
        total = total + _term_of(text) if sign == "+" else total - _term_of(text)
    return total


def _unit_of(text: str) -> Unit:
    """The unit that a text which fits :data:`UNIT` means."""
    layer, index, at = UNIT.fullmatch(text).groups()  # type: ignore[union-attr]
    return Unit(layer, int(index), tuple(int(one) for one in at.split(",")) if at else None)


def _term_of(text: str) -> Score:
    kind, _, rest = text.partition(":")
    if kind == "like" and rest:
        return Similarity(rest)
    if kind == "box" and rest.isdigit():
        return Detection(int(rest))
    if text.startswith("unit:") and UNIT.fullmatch(text.removeprefix("unit:")):
        return _unit_of(text.removeprefix("unit:"))
    name, sign, where = text.rpartition("@")
    if not sign:
        return Class(text)
    numbers = where.split(",")
    if where == PREDICTED:
        return Class(name, mask=PREDICTED)
    if all(re.fullmatch(r"\s*\d+(\.\d+)?\s*", one) for one in numbers) and len(numbers) in (2, 4):
        if len(numbers) == 2:
            return Class(name, at=(int(float(numbers[0])), int(float(numbers[1]))))
        left, top, right, bottom = map(float, numbers)
        return Class(name, box=(left, top, right, bottom))
    if Path(where).suffix:
        return Class(name, mask=_mask_file(where))
    raise SettingError(
        f"target={text!r}: after @ expected row,column or left,top,right,bottom or 'predicted' or a picture's file."
    )


def _mask_file(path: str) -> Array:
    from . import images

    if not Path(path).is_file():
        raise ImageError(f"There is no mask {path!r} (looked in {Path(path).resolve().parent}).")
    return np.asarray(np.asarray(images.read(path).convert("L")) / 255.0)


def choose(model: Model, table: Table, asked: Sequence[int | str | None], scores: Array) -> list[int | None]:
    """The column for each row of ``scores`` (N, K); None stands for the sum of all classes. Of targets that are None it
    is the largest of the classes."""
    return [_one(model, table, one, row) for one, row in zip(asked, scores, strict=True)]


def _one(model: Model, table: Table, target: int | str | None, row: Array | None = None) -> int | None:
    if target == ALL:
        return None
    if target is None:
        return None if row is None else int(np.argmax(row[: table.dense.classes]))
    classes = table.dense.classes
    if isinstance(target, int | np.integer) and classes <= target < table.width:
        return int(target)
    return model.spec.index(target, classes)


def listed(target: Target, rows: int) -> list[Any]:
    """One target a row. Raises SettingError for a list of another length, or for what is none."""
    if _single(target):
        return [target] * rows
    each: Any = target
    if len(each) != rows:
        raise SettingError(f"{len(each)} targets for {rows} images: give one target for all, or one for each.")
    return list(each)


def several(target: Target) -> int:
    """How many maps of a single picture are asked for."""
    return 1 if _single(target) else len(target)  # type: ignore[arg-type]


def _single(target: Target) -> bool:
    """Whether one target is given for all pictures: also an array or a tensor without axes."""
    axes = getattr(target, "shape", None)
    if axes is None and not isinstance(target, list | tuple | range | str | int | Score | None):
        raise SettingError(f"target={target!r}: expected {TARGETS}, or a list with one of these for each picture.")
    return not (isinstance(target, list | tuple | range) if axes is None else len(axes))


def labels(model: Model, table: Table, chosen: Sequence[int | None]) -> list[str]:
    """Names of the chosen columns; "all logits" for the sum."""
    return ["all logits" if index is None else table.label(model, index) for index in chosen]


def marks(model: Model, table: Table, asked: Sequence[int | str | None]) -> Array:
    """What a device needs to find the targets' scores by itself: (N, K + 1), float64. A row has ones at the columns
    that are added up, or, where its target is None, a single one at its end.

    Raises what :func:`look` raises.
    """
    found = np.zeros((len(asked), table.width + 1))
    for row, item in zip(found, asked, strict=True):
        if item == ALL:
            row[: table.dense.classes] = 1
        else:
            row[-1 if item is None else _one(model, table, item)] = 1
    return found


def score(ops: Ops, table: Table, scores: Tensor, marks: Tensor) -> Tensor:
    """The columns of ``scores`` (N, K) that the rows of :func:`marks` mean, added up: (N,)."""
    classes = table.dense.classes
    if table.columns:
        top = ops.concat([ops.top(ops.detach(scores[:, :classes])), 0.0 * marks[:, classes:-1]], 1)
    else:
        top = ops.top(ops.detach(scores))
    chosen = marks[:, :-1] + marks[:, -1:] * top
    return ops.sum(ops.where(chosen, scores, 0.0 * chosen), 1)
