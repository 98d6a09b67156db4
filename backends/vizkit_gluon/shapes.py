"""The ``shapes`` network in Gluon, built from the description in ``vizkit.zoo.shapes``, under the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mxnet.gluon import HybridBlock, nn

from vizkit.zoo.shapes import BATCH_NORM_EPSILON, DROPOUT, Layer, layers

MAKE: dict[str, Callable[[Layer], Any]] = {
    "conv": lambda layer: nn.Conv2D(layer.outputs, 3, padding=1, in_channels=layer.inputs),
    "batch_norm": lambda layer: nn.BatchNorm(epsilon=BATCH_NORM_EPSILON, in_channels=layer.outputs),
    "max_pool": lambda layer: nn.MaxPool2D(2),
    "avg_pool": lambda layer: nn.GlobalAvgPool2D(),
    "linear": lambda layer: nn.Dense(layer.outputs, in_units=layer.inputs),
    "dropout": lambda layer: nn.Dropout(DROPOUT),
    "relu": lambda layer: nn.Activation("relu"),
}


class ShapesNet(HybridBlock):
    """``features`` (convolutions with batch norm, ReLU, max-pool), ``avgpool``, ``classifier``: (N, 3, 96, 96) to
    class scores (N, 12)."""

    def __init__(self) -> None:
        super().__init__()
        parts: dict[str, list[Any]] = {}
        for layer in layers():
            parts.setdefault(layer.name.split(".")[0], []).append(MAKE[layer.kind](layer))
        self.features = nn.HybridSequential()
        self.features.add(*parts["features"])
        self.avgpool = parts["avgpool"][0]
        self.classifier = nn.HybridSequential()
        self.classifier.add(*parts["classifier"])

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.classifier(F.flatten(self.avgpool(self.features(x))))
