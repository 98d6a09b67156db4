"""How the value at a place of a map comes about: products for a convolution, the largest of a window for a pool, from
the activations and parameters as they are, in float64.

:func:`sum_at` gives a frame. Its header has ``operation``, ``value``, what the framework computed, ``then``, activation
functions that follow before anything can be observed, and where it can be told ``sum``, what comes of the parts before
``then``, ``result``, after it, and ``deviation``, ``|result - value|`` over the largest of ``|value|`` and the sum of
the parts' absolute values. ``from`` is the layer that is read, "input", or null where it cannot be observed itself.

=============  ========================================================================================================
convolution    arrays ``patch``, ``weight``, ``product`` (C, kh, kw); ``bias``, ``channels`` [first, behind the last] of
               ``from``, ``box`` [top, left, bottom, right] there, beyond its edges where there is padding
dense          arrays ``patch``, ``weight``, ``product`` (C, h, w); ``bias``
max, mean      array ``patch`` (kh, kw), ``inside`` uint8 (kh, kw), 0 for padding; ``at`` [row, column] of the maximum,
               ``box``; for the mean ``count``, what the sum is divided by
batch_norm     ``input``, ``scale``, ``shift``, and what they follow from: ``mean``, ``variance``, ``epsilon``,
               ``gamma``, ``beta``
add, multiply  ``terms`` [{"from", "value"}]
concat         ``channel``, the unit's number in ``from``
same           one value that is handed on
relu           ``input``; any other activation function by its name
other          ``text``
=============  ========================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract.backend import Array, Model
from ..contract.errors import SettingError
from ..contract.graph import INPUT, SILENT, Graph, Node
from ..contract.units import units_of
from .engine import Engine
from .passes import Passes
from .protocol import View, pack

Found = tuple[dict[str, Any], dict[str, Array]]
FUNCTIONS: Mapping[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0,
    "tanh": math.tanh,
    "silu": lambda x: x / (1 + math.exp(-x)) if x > -700 else 0.0,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "softsign": lambda x: x / (1 + abs(x)),
}
"""Activation functions without settings."""


def sum_at(engine: Engine, view: View) -> bytes:
    """How the value at a place of a unit's map comes about. Raises UnknownNameError, or SettingError for a place that
    lies outside."""
    maps, unit, y, x = engine.place(view)
    layer, value = view.text("layer"), float(maps[unit, y, x])
    passes, picture = engine.of(view), engine.picture(view)
    reading = Reading(passes, lambda name: passes.value(picture.batch, picture.digest, view.edits, name))
    if units_of(passes.model, layer).axis == 1:
        header, arrays = _explained(reading, layer, Place(unit, y, x))
    else:
        header, arrays = {"operation": "other", "text": "Parts are shown where channels come first."}, {}
    if any(one.layer == layer and one.unit == unit for one in view.edits):
        header, arrays = {"operation": "other", "text": "This unit is edited, so that it is no sum."}, {}
    if "sum" in header:
        header["result"] = header["sum"]
        for kind in header["then"]:
            header["result"] = FUNCTIONS[kind](header["result"])
        size = max(abs(value), header.pop("size", 0.0), abs(header["sum"]))
        header["deviation"] = abs(header["result"] - value) / size if size > 0 else abs(header["result"] - value)
    return pack({"from": None, "then": [], **header, "value": value}, arrays)


@dataclass(frozen=True)
class Place:
    """A place of a unit's map."""

    unit: int
    y: int
    x: int


class Reading:
    """The values of a pass by node of the graph; what no layer observes is computed from what feeds it."""

    def __init__(self, passes: Passes, read: Callable[[str], Array]) -> None:
        self.model, self._read, self.parameter = passes.model, read, passes.parameter
        self.graph: Graph | None
        try:
            self.graph = passes.model.graph()
        except SettingError:
            self.graph = None
        self.names = {} if self.graph is None else passes.observed

    def value(self, node: Node) -> Array | None:
        """(1, ...) of a node; None where nobody can tell."""
        if node.name == INPUT:
            return self._read(INPUT)
        if node.name in self.names:
            return self._read(self.names[node.name])
        assert self.graph is not None
        found = [self.value(self.graph[name]) for name in node.inputs]
        if any(one is None for one in found) or not found:
            return None
        return _computed(node, [one for one in found if one is not None])


def _computed(node: Node, inputs: list[Array]) -> Array | None:
    """What a simple operation makes of its inputs."""
    first = inputs[0].astype(np.float64)
    if node.kind in SILENT or node.kind == "reshape":
        return first.reshape(node.shape) if first.size == math.prod(node.shape) else None
    if node.kind == "relu":
        return np.asarray(np.maximum(first, 0))
    if node.kind == "add" and all(one.shape == first.shape for one in inputs):
        return np.asarray(sum(one.astype(np.float64) for one in inputs))
    if node.kind == "concat" and all(one.shape[2:] == first.shape[2:] for one in inputs):
        return np.concatenate(inputs, axis=1)
    if node.kind in ("avg_pool", "mean") and math.prod(node.shape) == first.shape[1] == node.shape[1]:
        return np.asarray(first.mean(axis=tuple(range(2, first.ndim))).reshape(node.shape))
    return None


def _explained(reading: Reading, layer: str, place: Place) -> Found:
    if layer == INPUT:
        return {"operation": "other", "text": "A pixel of the picture, normalised."}, {}
    if reading.graph is None or layer not in reading.graph.layers:
        return {"operation": "other", "text": "The framework does not show how this layer is computed."}, {}
    node, then = reading.graph[reading.graph.layers[layer]], list[str]()
    while node.kind in FUNCTIONS and node.inputs[0] not in reading.names and node.inputs[0] != INPUT:
        then.insert(0, node.kind)
        node = reading.graph[node.inputs[0]]
    make = OPERATIONS.get(node.kind, _function if node.kind in FUNCTIONS else None)
    other: Found = {"operation": "other", "text": f"{node.kind.replace('_', ' ')}: not taken apart here."}, {}
    found = other if make is None else make(reading, node, place) or other
    return {"then": then, **found[0]}, found[1]


def _source(reading: Reading, node: Node, which: int = 0) -> tuple[str | None, Array | None]:
    """The layer that a node reads, and its values, float64; without what hands values on as they are."""
    assert reading.graph is not None
    source = reading.graph[node.inputs[which]]
    name = INPUT if source.name == INPUT else reading.names.get(source.name)
    value = reading.value(source)
    return name, None if value is None else value.astype(np.float64)


def _at(value: Array, place: Place) -> float:
    """The number at a place of (1, C, h, w), or of (1, C)."""
    return float(value.reshape(*value.shape[:2], *(*value.shape[2:], 1, 1)[:2])[0, place.unit, place.y, place.x])


def _parameters(reading: Reading, node: Node, unit: int) -> tuple[Array, float] | None:
    """The weights of the layer that a node belongs to, and a unit's bias."""
    shapes = reading.model.parameter_shapes()
    layer = next((one for one in (node.name, node.scope) if f"{one}.weight" in shapes), None)
    if layer is None:
        return None
    bias = f"{layer}.bias"
    return reading.parameter(f"{layer}.weight"), float(reading.parameter(bias)[unit]) if bias in shapes else 0.0


def _sum(operation: str, patch: Array, weight: Array, bias: float, **more: Any) -> Found:
    product = patch * weight
    header = {"operation": operation, "bias": bias, "sum": float(product.sum() + bias)}
    header["size"] = float(np.abs(product).sum() + abs(bias))
    return {**header, **more}, {"patch": patch, "weight": weight, "product": product}


def _convolution(reading: Reading, node: Node, place: Place) -> Found | None:
    known, (name, value) = _parameters(reading, node, place.unit), _source(reading, node)
    if known is None or value is None or value.ndim != 4 or known[0].ndim != 4:
        return None
    weight, bias = known
    width, (height, across) = weight.shape[1], weight.shape[2:]
    first = place.unit // (len(weight) // int(node.settings["groups"])) * width
    rows, columns, box = _window(node, place, (height, across), node.settings["dilation"])
    patch = _taken(value[0, first : first + width], rows, columns)
    more = {"from": name, "channels": [first, first + width], "box": box}
    return _sum("convolution", patch, weight[place.unit].astype(np.float64), bias, **more)


def _dense(reading: Reading, node: Node, place: Place) -> Found | None:
    assert reading.graph is not None
    known, source = _parameters(reading, node, place.unit), node
    while (inner := reading.graph[source.inputs[0]]).kind in SILENT and inner.inputs:
        source = inner
    name, value = _source(reading, source)
    if known is None or value is None or known[0].ndim != 2 or value.size != known[0].shape[1] or len(node.shape) != 2:
        return None
    shape = (*value.shape[1:], 1, 1)[:3]
    weight = known[0][place.unit].astype(np.float64).reshape(shape)
    return _sum("dense", value.reshape(shape), weight, known[1], **{"from": name})


def _pool(reading: Reading, node: Node, place: Place) -> Found | None:
    name, value = _source(reading, node)
    if value is None or value.ndim != 4:
        return None
    if "kernel" in node.settings:
        rows, columns, box = _window(node, place, node.settings["kernel"], node.settings.get("dilation", (1, 1)))
    else:  # adaptive: windows of unequal size
        (h, w), (high, wide) = value.shape[2:], node.shape[2:]
        rows = np.arange(place.y * h // high, -(-(place.y + 1) * h // high))
        columns = np.arange(place.x * w // wide, -(-(place.x + 1) * w // wide))
        box = [int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1]
    one = value[0, place.unit]
    patch = _taken(one[None], rows, columns)[0]
    inside = _taken(np.ones((1, *one.shape)), rows, columns)[0] > 0
    header: dict[str, Any] = {"from": name, "box": box}
    if node.kind == "max_pool":
        best = np.unravel_index(np.where(inside, patch, -np.inf).argmax(), patch.shape)
        header |= {"operation": "max", "at": [int(rows[best[0]]), int(columns[best[1]])], "sum": float(patch[best])}
    else:
        # Whether padding counts is the framework's affair, which the graph does not tell: what fits is taken.
        value = reading.value(node)
        whole, shown = patch.sum(), math.nan if value is None else _at(value, place)
        count = min({patch.size, int(inside.sum())}, key=lambda many: abs(whole / many - shown))
        header |= {"operation": "mean", "count": count, "sum": float(whole / count)}
    return header, {"patch": patch, "inside": inside.astype(np.uint8)}


def _norm(reading: Reading, node: Node, place: Place) -> Found | None:
    name, value = _source(reading, node)
    shapes = reading.model.parameter_shapes()
    if value is None or f"{node.name}.running_var" not in shapes:
        return None

    def read(key: str, fill: float) -> Array:
        name = f"{node.name}.{key}"
        return reading.parameter(name).astype(np.float64) if name in shapes else np.full_like(mean, fill)

    mean = reading.parameter(f"{node.name}.running_mean").astype(np.float64)
    variance, gamma, beta = read("running_var", 1.0), read("weight", 1.0), read("bias", 0.0)
    epsilon = _epsilon(reading.model, node.name, gamma, beta, mean, variance)
    scale = gamma / np.sqrt(variance + epsilon)
    x, k = _at(value, place), place.unit
    shift = float(beta[k] - scale[k] * mean[k])
    return {
        "operation": "batch_norm", "from": name, "input": x, "scale": float(scale[k]), "shift": shift,
        "mean": float(mean[k]), "variance": float(variance[k]), "epsilon": epsilon, "gamma": float(gamma[k]),
        "beta": float(beta[k]), "sum": float(scale[k] * x + shift), "size": abs(float(scale[k]) * x) + abs(shift),
    }, {}  # fmt: skip


def _epsilon(model: Model, name: str, gamma: Array, beta: Array, mean: Array, variance: Array) -> float:
    """What keeps a batch norm from dividing by zero, from the constant that it adds, where that tells it."""
    try:
        shift = model.biases()[name]
    except (SettingError, KeyError):
        return 1e-5
    k = int(np.argmax(np.abs(gamma * mean)))
    if gamma[k] * mean[k] == 0 or beta[k] == shift[k]:
        return 1e-5
    found = (gamma[k] * mean[k] / (beta[k] - shift[k])) ** 2 - variance[k]
    return float(f"{max(found, 0.0):.3g}")


def _terms(reading: Reading, node: Node, place: Place) -> Found | None:
    terms: list[dict[str, Any]] = []
    for which in range(len(node.inputs)):
        name, value = _source(reading, node, which)
        if value is None or value.ndim != 4:
            return None
        at = (place.unit, *(0 if side == 1 else k for side, k in zip(value.shape[2:], (place.y, place.x), strict=True)))
        terms.append({"from": name, "value": float(value[(0, *at)])})
    values = [one["value"] for one in terms]
    if len(values) < 2:
        return None
    product = node.kind == "mul"
    made = math.prod(values) if product else sum(values)
    header = {"operation": "multiply" if product else "add", "terms": terms, "sum": float(made)}
    return {**header, "size": abs(made) if product else sum(map(abs, values))}, {}


def _concat(reading: Reading, node: Node, place: Place) -> Found | None:
    channel = place.unit
    for which in range(len(node.inputs)):
        name, value = _source(reading, node, which)
        if value is None or value.ndim != 4:
            return None
        if channel < value.shape[1]:
            found = float(value[0, channel, place.y, place.x])
            return {"operation": "concat", "from": name, "channel": channel, "sum": found}, {}
        channel -= value.shape[1]
    return None


def _function(reading: Reading, node: Node, place: Place) -> Found | None:
    """An activation function of one value, or what hands it on."""
    name, value = _source(reading, node)
    if value is None or value.size != math.prod(node.shape):
        return None
    x = _at(value.reshape(node.shape), place)
    same = node.kind not in FUNCTIONS
    made = x if same else FUNCTIONS[node.kind](x)
    return {"operation": "same" if same else node.kind, "from": name, "input": x, "sum": made, "size": abs(x)}, {}


OPERATIONS: Mapping[str, Callable[[Reading, Node, Place], Found | None]] = {
    "conv": _convolution,
    "linear": _dense,
    "max_pool": _pool,
    "avg_pool": _pool,
    "batch_norm": _norm,
    "add": _terms,
    "mul": _terms,
    "concat": _concat,
    **dict.fromkeys(SILENT, _function),
}


def _window(
    node: Node, place: Place, kernel: tuple[int, int], dilation: tuple[int, int]
) -> tuple[Array, Array, list[int]]:
    """Rows and columns of the input that a place reads, and the box around them."""
    starts = [
        at * s - p
        for at, s, p in zip((place.y, place.x), node.settings["stride"], node.settings["padding"], strict=True)
    ]
    rows, columns = (start + d * np.arange(k) for start, d, k in zip(starts, dilation, kernel, strict=True))
    return rows, columns, [int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1]


def _taken(maps: Array, rows: Array, columns: Array) -> Array:
    """(C, kh, kw): these rows and columns of (C, H, W), zero outside."""
    height, width = maps.shape[1:]
    found = maps[:, np.clip(rows, 0, height - 1)][:, :, np.clip(columns, 0, width - 1)]
    seen = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    return np.asarray(np.where(seen, found, 0.0))
