"""What a target means: which number of a network's output is explained.

Of a classifier that is a class's logit. Of a network with another output it is a :class:`Score`: a class at a pixel, in
a box or under a mask of a segmentation, a detected box, the similarity of an embedding to another picture's, any
function; or a unit of a layer.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.backend import OUTPUT, Array, Model, Ops, Tensor
from ..contract.errors import ImageError, SettingError
from .images import Batch, read
from .outputs import Column, Dense, Table
from .scores import PREDICTED as PREDICTED
from .scores import Class as Class
from .scores import Detection as Detection
from .scores import Function as Function
from .scores import Score as Score
from .scores import Similarity as Similarity
from .scores import Sum as Sum
from .scores import Unit as Unit

ALL = "all"

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
            dense.check_classes(model)
            found.append(_most(model, dense, batch.tensor[i : i + 1]))
            continue
        if score is None:
            dense.check_classes(model)
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
    if not Path(path).is_file():
        raise ImageError(f"There is no mask {path!r} (looked in {Path(path).resolve().parent}).")
    return np.asarray(np.asarray(read(path).convert("L")) / 255.0)


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


def told(model: Model, table: Table, chosen: Sequence[int | None]) -> list[dict[str, Any]]:
    """The chosen columns as provenance has them: a class by index and label, any other score by its label alone."""
    classes = table.dense.classes
    return [
        {"index": None if index is None or index >= classes else index, "label": label}
        for index, label in zip(chosen, labels(model, table, chosen), strict=True)
    ]


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
