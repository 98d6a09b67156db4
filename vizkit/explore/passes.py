"""What a network makes of a picture, kept for all who look at it."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache

import numpy as np

from ..contract.backend import OUTPUT, Array, Model
from ..contract.edits import Edit, edited
from ..contract.errors import SettingError
from ..inputs.images import Batch

ONE = 256 << 20
"""Bytes of activations of one picture that are kept; beyond, a layer is computed anew when it is asked for."""
OLDER = 12 << 20
"""Bytes of activations of earlier pictures."""
PARAMETERS = 8
"""That are kept, so that moving over a map does not copy a layer's weights at each place."""
INPUT = "input"
Key = tuple[str, tuple[Edit, ...]]


class Passes:
    """The activations of one network, by picture and edits; the newest pass is kept whatever its size."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._kept: OrderedDict[Key, dict[str, Array]] = OrderedDict()
        self._state: object = None
        self.parameter = lru_cache(maxsize=PARAMETERS)(model.parameter)
        """A parameter as the last pass read it; a few are kept."""
        self._edited: tuple[tuple[Edit, ...], Model] = ((), model)

    @cached_property
    def observed(self) -> dict[str, str]:
        """For every node of the graph that is a layer's result, the first such layer; empty where there is no graph."""
        return observed(self.model)

    @cached_property
    def _same(self) -> dict[str, str]:
        """For every layer, and the output, the first that is the same activation: a block is its last layer's."""
        first, known = self.observed, {*self.model.layers, OUTPUT}
        nodes = self.model.graph().layers if first else {}
        return {name: first[node] for name, node in nodes.items() if name in known and node in first}

    def network(self, edits: tuple[Edit, ...]) -> Model:
        """The network with these edits."""
        if self._edited[0] != edits:
            self._edited = edits, edited(self.model, edits)
        return self._edited[1]

    def complete(self, batch: Batch, digest: str, edits: tuple[Edit, ...]) -> dict[str, Array]:
        """One pass of a picture, with every layer that there is room for."""
        state = self.model.looked()
        if state != self._state:
            self._kept.clear()
            self.parameter.cache_clear()
            self._state = state
        key = digest, edits
        if key not in self._kept:
            network = self.network(edits)
            ops, chosen = network.ops, self._chosen()
            made = network.forward(ops.asarray(batch.tensor), chosen)
            found = {}
            for name in chosen:  # one by one: what is on the host need not stay on the device
                found[name] = ops.numpy(made.pop(name))
            self._kept[key] = found
        self._kept.move_to_end(key)
        self._forget()
        return self._kept[key]

    def value(self, batch: Batch, digest: str, edits: tuple[Edit, ...], layer: str) -> Array:
        """The activation of a layer, with its leading axis of 1, as the framework computed it."""
        if layer == INPUT:
            return batch.tensor
        name = self._same.get(layer, layer)
        kept = self.complete(batch, digest, edits)
        if name in kept:
            return kept[name]
        network = self.network(edits)
        return network.ops.numpy(network.forward(network.ops.asarray(batch.tensor), (name,))[name])

    def maps(self, batch: Batch, digest: str, edits: tuple[Edit, ...], layer: str) -> Array:
        """(C, h, w): the layer's maps; of a dense layer each a single number. Raises SettingError where it has none."""
        value = self.value(batch, digest, edits, layer)
        if value.ndim == 2:
            return np.asarray(value[0, :, None, None])
        grid = None if layer == INPUT else self.model.grid(layer)
        if layer == INPUT or (grid is not None and grid.order == "NCHW" and not grid.extent):
            return np.asarray(value[0])
        if grid is None:
            raise SettingError(f"Layer {layer!r} gives {value.shape}, which are no maps over the picture.")
        ops = self.model.ops
        found: Array = ops.numpy(grid.maps(ops, ops.asarray(value)))[0]
        return found

    def bytes(self) -> int:
        """What is kept."""
        return sum(size(one) for one in self._kept.values())

    def _forget(self) -> None:
        """Let earlier passes go, last of all the one with which the newest is compared: the same picture without
        edits, or with them."""
        *older, (digest, edits) = self._kept
        rivals = [key for key in older if key[0] == digest and bool(key[1]) != bool(edits)][-1:]
        for key in older:
            rest = sum(size(self._kept[one]) for one in older if one in self._kept and one not in rivals)
            if key not in rivals and rest > OLDER:
                del self._kept[key]
        if rivals and self.bytes() > ONE:
            del self._kept[rivals[0]]

    def _chosen(self) -> Sequence[str]:
        """One name for each activation, in order, as many as there is room for, the output among them."""
        width = np.dtype(self.model.ops.dtype).itemsize
        chosen, total = [], 0
        for name, layer in self.model.layers.items():
            if self._same.get(name, name) == name and layer.shape[0] == 1:
                total += width * math.prod(layer.shape)
                if total > ONE:
                    break
                chosen.append(name)
        return [*chosen, OUTPUT] if OUTPUT not in self._same else chosen


def size(kept: Mapping[str, Array]) -> int:
    """Bytes of some activations."""
    return sum(one.nbytes for one in kept.values())


def observed(model: Model) -> dict[str, str]:
    """For every node of the graph that is a layer's result, the first such layer; empty where there is no graph."""
    try:
        graph = model.graph()
    except SettingError:
        return {}
    found: dict[str, str] = {}
    for name in model.layers:
        if name in graph.layers:
            found.setdefault(graph.layers[name], name)
    return found
