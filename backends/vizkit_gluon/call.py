"""How a Gluon network is called, and which of its results is the output."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import mxnet as mx
import numpy as np

from vizkit.backend import Call
from vizkit.errors import SettingError

from .ops import GluonOps

NDArray = Any
NAME = "input:"
"""Begins the names of further inputs in a graph; no parameter has such a name."""


class Given:
    """A network's further inputs, by their names in its graph. Arrays are of the model's dtype, whole numbers of their
    own; what has a leading axis of 1 is repeated for each picture of a batch."""

    def __init__(self, arrays: Sequence[NDArray]) -> None:
        self.arrays = {f"{NAME}{i}": one for i, one in enumerate(arrays)}
        self.count = 1
        """Pictures in the batch that is computed just now."""
        self._repeated: dict[str, NDArray] = {}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """For a batch of one."""
        return {name: tuple(one.shape) for name, one in self.arrays.items()}

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __getitem__(self, name: str) -> NDArray:
        one = self.arrays[name]
        if self.count == 1 or one.ndim == 0 or one.shape[0] != 1:
            return one
        found = self._repeated.get(name)
        if found is None or found.shape[0] != self.count:
            found = self._repeated[name] = one.broadcast_to((self.count, *one.shape[1:]))
        return found


def given(native: Any, call: Call, ops: GluonOps) -> Given:
    """The further inputs of a network, in its order. Raises SettingError for others than it takes."""
    names = _names(native)
    values: Any = call.inputs
    if isinstance(values, Mapping):
        if names is None or set(values) - set(names):
            raise _unfit(native, f"there is no input {sorted(set(values) - set(names or ()))[0]!r}")
        values = [values[name] for name in names if name in values]
    needed = _needed(native)
    if needed is not None and not needed[0] <= len(values) <= needed[1]:
        raise _unfit(native, f"it got {len(values)}")
    return Given([_native(one, ops) for one in values])


def _native(value: Any, ops: GluonOps) -> NDArray:
    if not isinstance(value, mx.nd.NDArray):
        value = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    kind = np.dtype(value.dtype)
    dtype = ops.dtype if kind.kind == "f" else kind
    return mx.nd.array(value, ctx=ops.context, dtype=dtype)


def _signature(native: Any) -> list[inspect.Parameter] | None:
    """What a network's own forward takes behind the picture; None where that is not to be seen."""
    own = type(native).forward is not mx.gluon.HybridBlock.forward
    if own and type(native).__module__.startswith("mxnet."):
        return None
    forward = native.forward if own else native.hybrid_forward
    behind = list(inspect.signature(forward).parameters.values())[1 if own else 2 :]
    return [one for one in behind if one.name not in getattr(native, "_reg_params", {})]


def _names(native: Any) -> list[str] | None:
    found = _signature(native)
    if found is None or any(one.kind is one.VAR_POSITIONAL for one in found):
        return None
    return [one.name for one in found if one.kind is one.POSITIONAL_OR_KEYWORD]


def _needed(native: Any) -> tuple[int, int] | None:
    """How many further inputs a network needs at least, and takes at most."""
    names, found = _names(native), _signature(native)
    if names is None or found is None:
        return None
    return sum(one.default is one.empty for one in found if one.name in names), len(names)


def _unfit(native: Any, what: str) -> SettingError:
    names = _names(native)
    takes = f"takes {len(names)} inputs beside the picture, {', '.join(names)}" if names else "takes a picture"
    return SettingError(
        f"{type(native).__name__} {takes}; {what}. Give them with vizkit.wrap(..., inputs=[...]) in that order, or "
        "inputs={name: ...}."
    )


def output(result: Any, call: Call, name: str) -> Any:
    """The symbol that counts, of what a network returns when it is traced."""
    wanted = call.output
    if callable(wanted):
        found, said = wanted(result), "the function given as output="
    elif wanted is not None:
        found, said = _part(result, wanted, name), f"output={wanted!r}"
    else:
        found, said = _only(result), ""
    if isinstance(found, mx.sym.Symbol) and len(found) == 1:
        return found
    if wanted is None:
        raise SettingError(
            f"{name} returns {_described(result)}. Say which part of it counts: vizkit.wrap(..., output=) takes an "
            "index, or a function of what the network returns when it is called with symbols."
        )
    raise SettingError(f"{said} gives {_described(found)} of {name}'s results; expected one array (N, ...).")


def _only(result: Any) -> Any:
    return result[0] if isinstance(result, list | tuple) and len(result) == 1 else result


def _part(result: Any, wanted: int | str, name: str) -> Any:
    try:
        if isinstance(wanted, str) and not isinstance(result, Mapping):
            raise KeyError(wanted)
        if isinstance(result, mx.sym.Symbol) and not -len(result) <= wanted < len(result):  # type: ignore[operator]
            raise IndexError(wanted)
        return result[wanted % len(result) if isinstance(result, mx.sym.Symbol) else wanted]
    except (KeyError, IndexError, TypeError):
        raise SettingError(f"{name} returns {_described(result)}; output={wanted!r} names no part of it.") from None


def _described(result: Any) -> str:
    if isinstance(result, mx.sym.Symbol):
        return f"{len(result)} arrays" if len(result) > 1 else "an array"
    if isinstance(result, list | tuple):
        return f"a {type(result).__name__} of " + ", ".join(f"{i} {_described(one)}" for i, one in enumerate(result))
    return f"a {type(result).__name__}"
