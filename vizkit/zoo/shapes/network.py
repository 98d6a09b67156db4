"""The ``shapes`` network as plain data, from which every backend builds the same layers under the same names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vizkit.zoo.shapes.draws import SIZE
from vizkit.zoo.shapes.forms import CLASSES

INPUT_SIZE = SIZE
MEAN: tuple[float, float, float] = (0.5, 0.5, 0.5)
STD: tuple[float, float, float] = (0.25, 0.25, 0.25)

FEATURES: tuple[int | Literal["pool"], ...] = (16, "pool", 32, 32, "pool", 64, 64, "pool", 96, 96)
"""Output channels of each 3x3 convolution (stride 1, padding 1, with a bias), followed by batch norm and ReLU;
``"pool"`` is a 2x2 max-pool with stride 2."""

CLASSIFIER: tuple[int, ...] = (64, len(CLASSES))
"""Outputs of the linear layers, which follow a global average pool; between them ReLU and dropout."""

DROPOUT = 0.3
BATCH_NORM_EPSILON = 1e-5

Kind = Literal["conv", "batch_norm", "relu", "max_pool", "avg_pool", "linear", "dropout"]


@dataclass(frozen=True)
class Layer:
    """One layer: its canonical name, what it is, and its channels before and after."""

    name: str
    kind: Kind
    inputs: int
    outputs: int


def layers() -> tuple[Layer, ...]:
    """All layers in the order in which they run. After ``avgpool`` (N, C, 1, 1) the input of the first linear layer
    is flattened to (N, C).

    Example:
        >>> [(layer.name, layer.kind, layer.outputs) for layer in layers()[:2]]
        [('features.0', 'conv', 16), ('features.1', 'batch_norm', 16)]
    """
    found: list[Layer] = []
    channels = 3

    def add(part: str, *steps: tuple[Kind, int]) -> None:
        nonlocal channels
        for kind, outputs in steps:
            place = sum(layer.name.startswith(f"{part}.") for layer in found)
            found.append(Layer(f"{part}.{place}", kind, channels, outputs))
            channels = outputs

    for item in FEATURES:
        if item == "pool":
            add("features", ("max_pool", channels))
        else:
            add("features", ("conv", item), ("batch_norm", item), ("relu", item))
    found.append(Layer("avgpool", "avg_pool", channels, channels))
    for size in CLASSIFIER[:-1]:
        add("classifier", ("linear", size), ("relu", size), ("dropout", size))
    add("classifier", ("linear", CLASSIFIER[-1]))
    return tuple(found)


def parameter_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter and statistic that the weights file holds, as torchvision would name them.

    Example:
        >>> parameter_shapes()["features.0.weight"]
        (16, 3, 3, 3)
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers():
        if layer.kind in ("conv", "linear"):
            size = (3, 3) if layer.kind == "conv" else ()
            shapes[f"{layer.name}.weight"] = (layer.outputs, layer.inputs, *size)
            shapes[f"{layer.name}.bias"] = (layer.outputs,)
        elif layer.kind == "batch_norm":
            for kind in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{layer.name}.{kind}"] = (layer.outputs,)
    return shapes
