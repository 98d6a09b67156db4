"""How a Gluon network is called, and which of its results is the output."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import mxnet as mx
import numpy as np

from vizkit.contract.backend import Call
from vizkit.contract.choice import Choice
from vizkit.contract.errors import SettingError

from .ops import GluonOps, first_line

NDArray = Any
NAME = "input:"
"""Begins the names of further inputs in a graph; no parameter has such a name."""
WHOLE = ("int8", "uint8", "int32", "int64")
"""Other whole numbers than MXNet's go in as int64."""


class Given:
    """A network's further inputs, in its order. Arrays, of the model's dtype, whole numbers of their own, have names in
    its graph; what has a leading axis of 1 is repeated for each picture of a batch. Anything else, None or a number, is
    handed on as it is."""

    def __init__(self, values: Sequence[Any], dtype: str) -> None:
        self.values = tuple(values)
        self.dtype = dtype
        self.arrays = {f"{NAME}{i}": one for i, one in enumerate(values) if isinstance(one, mx.nd.NDArray)}
        self.count = 1
        """Pictures in the batch that is computed just now."""
        self._repeated: dict[str, NDArray] = {}

    def symbols(self) -> list[Any]:
        """What the network gets when it is traced."""
        return [mx.sym.var(f"{NAME}{i}") if f"{NAME}{i}" in self else one for i, one in enumerate(self.values)]

    def shapes(self, count: int = 1) -> dict[str, tuple[int, ...]]:
        """For a batch of so many pictures."""
        return {
            name: (count, *one.shape[1:]) if one.shape[0] == 1 else tuple(one.shape)
            for name, one in self.arrays.items()
        }

    @property
    def whole(self) -> list[str]:
        """Arrays of whole numbers, in words."""
        kinds = {name: np.dtype(one.dtype) for name, one in self.arrays.items()}
        return [f"inputs[{name.removeprefix(NAME)}] of {kind}" for name, kind in kinds.items() if kind.kind != "f"]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __getitem__(self, name: str) -> NDArray:
        one = self.arrays[name]
        if self.count == 1 or one.shape[0] != 1:
            return one
        found = self._repeated.get(name)
        if found is None or found.shape[0] != self.count:
            found = self._repeated[name] = one.broadcast_to((self.count, *one.shape[1:]))
        return found


class Taken(NamedTuple):
    """An input that a network takes beside the picture."""

    name: str
    default: Any = inspect.Parameter.empty

    @property
    def needed(self) -> bool:
        return self.default is inspect.Parameter.empty


def given(native: Any, call: Call, ops: GluonOps) -> Given:
    """The further inputs of a network, in its order. Raises SettingError for others than it takes."""
    taken = _taken(native)
    values: Any = call.inputs
    if isinstance(values, Mapping):
        values = _in_order(native, values, taken)
    elif taken is not None and not sum(one.needed for one in taken) <= len(values) <= len(taken):
        raise _unfit(native, taken, f"it got {len(values)}")
    return Given([_native(one, i, ops) for i, one in enumerate(values)], ops.dtype)


def _in_order(native: Any, values: Mapping[str, Any], taken: list[Taken] | None) -> list[Any]:
    """Named inputs as MXNet takes them, by position: what lies between two of them has its default."""
    if taken is None:
        raise SettingError(
            f"{type(native).__name__} takes inputs by position only; got {', '.join(map(repr, values))}. "
            "Give them with vizkit.wrap(..., inputs=[...])."
        )
    names = [one.name for one in taken]
    for name in values:
        if name not in names:
            raise _unfit(native, taken, f"there is no input {name!r}")
    for one in taken:
        if one.needed and one.name not in values:
            raise _unfit(native, taken, f"{one.name!r} is missing")
    last = max((names.index(name) for name in values), default=-1)
    return [values.get(one.name, one.default) for one in taken[: last + 1]]


def _native(value: Any, i: int, ops: GluonOps) -> Any:
    if not isinstance(value, mx.nd.NDArray):
        try:
            array = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
        except ValueError:  # lists of different lengths
            return value
        if array.dtype.kind not in "biuf":
            return value
        if array.ndim == 0:  # which MXNet takes for an array of unknown shape
            return array.item()
        value = array
    if 0 in value.shape:
        raise SettingError(f"inputs[{i}] has shape {tuple(value.shape)}; MXNet takes no array without values.")
    kind = np.dtype(value.dtype)
    if kind.kind in "fb":  # a truth value is a number in MXNet: few of its operators know bool
        kind = np.dtype(ops.dtype)
    elif kind.name not in WHOLE:
        kind = np.dtype("int64")
    with mx.autograd.pause():
        return mx.nd.array(value, ctx=ops.context, dtype=kind)


def _taken(native: Any) -> list[Taken] | None:
    """What a network takes behind the picture; None where it takes any number, or does not tell."""
    if isinstance(native, mx.gluon.SymbolBlock):
        return [Taken(one.name) for one in native._cached_graph[0][1:]]
    own = type(native).forward is not mx.gluon.HybridBlock.forward
    if own and type(native).__module__.startswith("mxnet."):
        return None
    forward = native.forward if own else native.hybrid_forward
    behind = list(inspect.signature(forward).parameters.values())[1 if own else 2 :]
    if any(one.kind is one.VAR_POSITIONAL for one in behind):
        return None
    parameters = getattr(native, "_reg_params", {})
    return [
        Taken(one.name, one.default)
        for one in behind
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.name not in parameters
    ]


def _unfit(native: Any, taken: list[Taken], what: str) -> SettingError:
    if not taken:
        return SettingError(
            f"{type(native).__name__} takes a picture alone; {what} beside it. Wrap it without inputs=."
        )
    inputs = f"{len(taken)} input{'s' * (len(taken) > 1)}"
    return SettingError(
        f"{type(native).__name__} takes {inputs} beside the picture, {', '.join(one.name for one in taken)}; {what}. "
        "Give them with vizkit.wrap(..., inputs=[...]) in that order, or inputs={name: ...}."
    )


def output(result: Any, call: Call, name: str) -> Any:
    """The symbol that counts, of what a network returns when it is traced."""
    choose = call.output
    if callable(choose):
        call = replace(call, output=lambda given: _chosen(given, choose, name))
    return CHOICE.output(result, call, name)


def _chosen(result: Any, choose: Callable[[Any], Any], name: str) -> Any:
    try:
        return choose(result)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError,
            mx.base.MXNetError) as error:  # fmt: skip
        raise SettingError(
            f"The function given as output= fails on what {name} returns, {CHOICE.described(result)} "
            f"({type(error).__name__}: {first_line(str(error))}). These are MXNet's symbols: take parts of tuples and "
            "dictionaries, + and *, and methods such as slice_axis; there are no shapes, values or slices [:, :2]."
        ) from error


def _kind(value: Any) -> str:
    if isinstance(value, mx.sym.Symbol):
        return "an array" if len(value) == 1 else f"{len(value)} arrays"
    return CHOICE.described(value) if isinstance(value, list | tuple | Mapping) else f"a {type(value).__name__}"


CHOICE = Choice(
    single=lambda value: isinstance(value, mx.sym.Symbol) and len(value) == 1,
    kind=_kind,
    parts=list,  # a symbol of several arrays is a list of them
    article="",
    hint=" when it is called with symbols",
    wanted="one array",
)
