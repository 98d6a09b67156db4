"""The filter that computes a unit, found through the network's graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...contract.backend import Array, Model
from ...contract.units import units_of

ACTIVATIONS = ("relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "gelu", "sigmoid", "tanh", "silu", "mish", "clip")
KEEPS_CHANNELS = frozenset(
    [*ACTIVATIONS, "hardswish", "hardsigmoid", "batch_norm", "dropout", "identity", "max_pool", "avg_pool"]
)
"""Kinds whose channel c reads channel c of what comes before, and nothing else."""


@dataclass(frozen=True)
class Filter:
    """``weight`` (I, kH, kW), or (I,) of a dense layer, float32: the filter ``channel`` of ``layer``."""

    layer: str
    channel: int
    weight: Array

    def norms(self) -> Array:
        """(I,) the L2 norm of the filter at each input channel."""
        return np.asarray(np.sqrt((self.weight.astype(np.float64) ** 2).reshape(len(self.weight), -1).sum(axis=1)))


def filter_of(model: Model, layer: str, unit: int) -> Filter | None:
    """The filter whose result the unit is, up to norms, activation functions and pools; None where a unit adds up
    several, as behind the sum of a residual block.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = filter_of(model, "features.3", 70)
        >>> found.layer, found.channel, found.weight.shape
        ('features.3.expand3x3', 6, (16, 3, 3))
    """
    graph = model.graph()
    nodes = graph.by_name
    node, channel, axis = nodes[graph.layers[layer]], unit, units_of(model, layer).axis
    while node.inputs:
        if node.kind in ("conv", "linear"):
            if f"{node.name}.weight" not in model.parameter_shapes():
                return None
            return Filter(node.name, channel, model.weight(node.name)[channel])
        if node.kind == "concat":
            widths = [nodes[name].shape[axis] for name in node.inputs]
            if sum(widths) != node.shape[axis]:
                return None
            for name, width in zip(node.inputs, widths, strict=True):
                if channel < width:
                    node = nodes[name]
                    break
                channel -= width
        elif node.kind in KEEPS_CHANNELS or (
            node.kind == "flatten" and nodes[node.inputs[0]].shape[1] == node.shape[1]
        ):
            node = nodes[node.inputs[0]]
        else:
            return None
    return None
