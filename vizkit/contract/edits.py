"""A network some of whose units are switched off, or raised."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .errors import SettingError
from .model import Changed, Model
from .ops import Array, Step, Tensor
from .terms import OUTPUT, Mode, Term, term_of
from .units import Units, find_units, units_of


@dataclass(frozen=True)
class Edit:
    """What is done to one unit of a layer: ``amount`` times the largest absolute value of its map is added to each of
    its places; None switches it off, so that its map is zero."""

    layer: str
    unit: int
    amount: float | None = None

    def __str__(self) -> str:
        what = "off" if self.amount is None else f"{self.amount:+g} of its largest"
        return f"{self.layer}[{self.unit}] {what}"


def edited(model: Model, edits: Iterable[Edit | tuple[str, int] | tuple[str, int, float | None]]) -> Model:
    """The network with some units switched off, or with a part of their largest value added, in each of its passes.

    Every technique takes it, and everything behind the units changes with them. The layer's own map shows the edit, and
    no gradient flows through a unit that is off. What is added is a constant to the gradient. Parameters, and the
    network that was given, stay as they are.

    Args:
        model: a network.
        edits: an :class:`Edit` for each unit, or (layer, unit) for off, (layer, unit, amount) for added.

    Returns:
        The same kind of model; its ``weights.note`` names the edits, and so does all provenance.

    Raises:
        UnknownNameError for a layer that does not exist, SettingError for a unit that the layer does not have, for an
        amount that is not finite, or for two edits of one unit; LayerError where a layer has no units.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("shapes")
        >>> without = vizkit.edited(model, [("features.9", 3)])
        >>> vizkit.feature_maps(without, vizkit.images.sample(), "features.9").values[0, 3].any().item()
        False
    """
    wanted = tuple(one if isinstance(one, Edit) else Edit(*one) for one in edits)
    by_layer: dict[str, dict[int, float | None]] = {}
    for one in wanted:
        _units(model, one.layer).chosen(one.unit)
        if one.amount is not None and not math.isfinite(one.amount):
            raise SettingError(f"An edit adds {one.amount} to unit {one.unit}: give a finite number, or None for off.")
        units = by_layer.setdefault(one.layer, {})
        if one.unit in units:
            raise SettingError(f"Two edits of unit {one.unit} of {one.layer!r}: give one for each unit.")
        units[one.unit] = one.amount
    if not wanted:
        return model
    kind = type(f"Edited{type(model).__name__}", (_Edited, type(model)), {})
    found: Model = object.__new__(kind)
    vars(found).update(vars(model))
    at = {name: place for place, name in enumerate(model.layers)}
    found._edits = dict(sorted(by_layer.items(), key=lambda item: at.get(item[0], len(at))))  # type: ignore[attr-defined]
    said = ", ".join(map(str, wanted))
    note = f"{model.weights.note}; edited: {said}" if model.weights.note else f"edited: {said}"
    found.weights = replace(model.weights, note=note)
    found.recipe = None if model.recipe is None else Changed(model.recipe, partial(edited, edits=wanted))
    return found


def _units(model: Model, layer: str) -> Units:
    """Those of a layer, or the heads of attention; the error of a layer that has none."""
    return find_units(model, layer) or units_of(model, layer)


class _Edited(Model):
    """What an edited model does before its kind's own pass."""

    _edits: Mapping[str, Mapping[int, float | None]]

    def recorded(self, step: Step, key: Hashable = None) -> Step:
        return step

    def _forward(self, x: Tensor, keep: Sequence[str], add: Mapping[str, Term], mode: Mode) -> dict[str, Tensor]:
        at = {name: place for place, name in enumerate(self.layers)} | {OUTPUT: len(self.layers)}
        last = max(at.get(name, len(at)) for name in (*keep, *add))
        changes: dict[str, Term] = {
            layer: partial(_changed, self, layer, units, add.get(layer))
            for layer, units in self._edits.items()
            if at.get(layer, len(at)) <= last
        }
        return super()._forward(x, keep, {**add, **changes}, mode)  # type: ignore[safe-super]


def _changed(model: Model, layer: str, units: Mapping[int, float | None], term: Term | None, value: Tensor) -> Tensor:
    """What is to be added to a layer's value, to which ``term`` is added in any case."""
    axis = _units(model, layer).axis % len(value.shape)
    if term is None:
        return _change(model, value, axis, units)
    first = term_of(term, value, layer)
    return first + _change(model, value + first, axis, units)


def _change(model: Model, value: Tensor, axis: int, units: Mapping[int, float | None]) -> Tensor:
    """What is to be added to a layer's value."""
    ops, shape = model.ops, tuple(value.shape)
    off = [unit for unit, amount in units.items() if amount is None]
    total = -1.0 * value * ops.constant(_mask, len(shape), axis, shape[axis], tuple(off))
    others = tuple(one for one in range(1, len(shape)) if one != axis)
    for unit, amount in units.items():
        if amount is not None:
            mask = ops.constant(_mask, len(shape), axis, shape[axis], (unit,))
            # The other units are zero here, so that the largest of all is that of this one.
            largest = ops.max(ops.abs(ops.detach(value) * mask), (axis, *others), keepdims=True)
            total = total + amount * largest * mask
    return total


def _mask(axes: int, axis: int, count: int, units: tuple[int, ...]) -> Array:
    """One at these units, of a shape that broadcasts."""
    found = np.zeros(count)
    found[list(units)] = 1.0
    return found.reshape([count if one == axis else 1 for one in range(axes)])
