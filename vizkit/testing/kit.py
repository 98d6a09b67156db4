"""What the author of a backend brings: the suite's small networks, built in the framework."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

import vizkit
from vizkit.contract import backend as contract
from vizkit.contract.backend import Array, Backend, Model
from vizkit.contract.errors import SettingError
from vizkit.contract.probes import Case, Part

Layers = Sequence[tuple[Any, ...]]
"""Each ("conv", in, out, kernel, padding), ("norm", channels), ("relu",), ("sigmoid",), ("pool",), which is a max-pool
2x2, ("dropout", rate), ("flatten",) or ("dense", in, out)."""
TRAPS: Layers = [
    ("conv", 3, 6, 3, 1),
    ("norm", 6),
    ("relu",),
    ("pool",),
    ("dropout", 0.4),
    ("conv", 6, 8, 3, 1),
    ("norm", 8),
    ("relu",),
    ("pool",),
    ("flatten",),
    ("dense", 8 * 4 * 4, 10),
    ("relu",),
    ("dropout", 0.5),
    ("dense", 10, 5),
]
"""What frameworks are known to get wrong, in a row: max-pools, dropout, batch norm, ReLUs that may work in place."""
TRAPS_SIZE = 16
EPSILON = 1e-5
"""Of batch norms."""


class Kit(ABC):
    """One backend's networks for the suite.

    Two methods are required. The others are for what a chain of layers cannot show, or not every framework can do;
    tests that need one which is not there are skipped.

    Example:
        >>> class MyKit(Kit):
        ...     backend = "mine"
        ...
        ...     def build(self, parts, dtype):
        ...         return my.Chain([my.layer(part.kind, part.settings, part.arrays) for part in parts], dtype)
        ...
        ...     def snapshot(self, native):
        ...         return [value.tolist() for value in native.parameters()]
    """

    backend: str
    """The backend's name, as it is registered."""
    complete: bool = False
    """Whether the backend means to have every optional part: one that is not there then fails, and is not skipped."""

    @abstractmethod
    def build(self, parts: Sequence[Part], dtype: str) -> Any:
        """A network of the framework with these parts in a row, named "0", "1", and so on; as its user may have left
        it, in training mode where there is one. Kinds are conv, batch_norm, relu, sigmoid, max_pool, dropout, flatten,
        dense, with the settings and arrays that :class:`vizkit.contract.probes.Part` lists."""

    @abstractmethod
    def snapshot(self, native: Any) -> Any:
        """A copy of all of a network and its framework that a pass must leave as it was, comparable with ``==``:
        parameters, stored statistics, gradients that training left, modes, hooks."""

    def variants(self, native: Any) -> dict[str, Any]:
        """The same network in every guise in which a user may hand it over, by name."""
        return {"plain": native}

    def leave_gradients(self, native: Any, x: Array) -> None:
        """Train for one step's worth, so that there are gradients which a pass could disturb."""
        return

    def write(self, native: Any, name: str, values: Array) -> None:
        """Write a parameter in place, as training does. Optional."""
        self._lacks("write", "parameters")

    def watch(self, native: Any, name: str) -> list[Any]:
        """A list that grows whenever the layer ``name`` computes. Optional."""
        self._lacks("watch", "the calls of a layer")

    def reuse(self, size: int = 6) -> Any:
        """``last(flatten(relu(relu(conv(x)) - 0.1)))``, the same layer ``relu`` twice: layers "conv", "relu", "last" of
        ``LAYERS = ("conv", 3, 2, 3, 1), ("relu",), ("dense", 2 * size * size, 4)``, with the settings and arrays of
        ``case(LAYERS).parts``. Optional."""
        self._lacks("reuse", "a layer that runs twice")

    def side(self, size: int = 6) -> Any:
        """``last(flatten(relu(y + x.sum(1, keepdims=True))))`` of ``y = conv(x)``, the sum and the ReLU called as
        functions, in place where the framework can, and ``side(y)``, which nobody reads: layers "conv", "side", "last"
        of ``LAYERS = ("conv", 3, 2, 3, 1), ("conv", 2, 2, 3, 1), ("dense", 2 * size * size, 4)``, with the settings and
        arrays of ``case(LAYERS).parts``. Optional."""
        self._lacks("side", "a layer whose result is thrown away")

    def _lacks(self, method: str, what: str) -> NoReturn:
        raise SettingError(f"{type(self).__name__} has no method {method!r}, which shows {what}.")

    def framework(self) -> Backend:
        """The backend, started."""
        return contract.get(self.backend)

    @property
    def dtype(self) -> str:
        """In which results are compared: float64 where the backend has it."""
        return "float64" if "float64" in self.framework().dtypes else "float32"

    def sequential(self, layers: Layers, *, seed: int = 0, dtype: str | None = None) -> Any:
        """The layers in a row, with the suite's parameters for this seed."""
        return self.build(case(layers, seed=seed).parts, self.dtype if dtype is None else dtype)

    def model(self, layers: Layers = TRAPS, size: int = TRAPS_SIZE, dtype: str | None = None) -> Model:
        """:meth:`sequential`, wrapped for pictures (3, size, size)."""
        return wrap(self.sequential(layers, dtype=dtype), size)


def wrap(native: Any, size: int = TRAPS_SIZE) -> Model:
    """A network for colour pictures of one size."""
    return vizkit.wrap(native, input_size=size, mean=(0.5,) * 3, std=(0.25,) * 3)


def case(layers: Layers, size: int = TRAPS_SIZE, seed: int = 0) -> Case:
    """The layers as plain data, whose outputs and gradients the doctor computes in NumPy."""
    parts = [_part(layer, arrays) for layer, arrays in zip(layers, parameters(layers, seed), strict=True)]
    return Case("the suite's network", tuple(parts), (3, size, size))


def _part(layer: tuple[Any, ...], arrays: dict[str, Array]) -> Part:
    kind, *sizes = layer
    if kind == "conv":
        return Part(kind, {"stride": 1, "padding": sizes[3], "groups": 1}, arrays)
    if kind == "norm":
        return Part("batch_norm", {"eps": EPSILON}, arrays)
    if kind == "pool":
        return Part("max_pool", {"size": 2, "stride": 2, "padding": 0, "ceil": False})
    return Part(kind, {"rate": sizes[0]} if kind == "dropout" else {}, arrays)


def parameters(layers: Layers, seed: int) -> list[dict[str, Array]]:
    """Arrays for each layer, float64: weight and bias; of a norm also the stored mean and variance."""
    rng = np.random.default_rng(seed)
    out: list[dict[str, Any]] = []
    for kind, *sizes in layers:
        if kind in ("conv", "dense"):
            inputs, outputs, *window = sizes
            shape = (outputs, inputs, *window[:1] * 2)
            scale = (2 / math.prod(shape[1:])) ** 0.5
            out.append({"weight": rng.normal(0, scale, shape), "bias": rng.normal(0, 0.1, outputs)})
        elif kind == "norm":
            (channels,) = sizes
            weight, bias = rng.uniform(0.5, 1.5, channels), rng.normal(0, 0.2, channels)
            mean, variance = rng.normal(0, 0.5, channels), rng.uniform(0.5, 2.0, channels)
            out.append({"weight": weight, "bias": bias, "mean": mean, "var": variance})
        else:
            out.append({})
    return out
