"""The ``shapes`` network in Gluon, built from the description in ``vizkit.zoo.shapes``, under the same names."""

from __future__ import annotations

from typing import Any

from mxnet.gluon import HybridBlock, nn

from vizkit.zoo.shapes import BATCH_NORM_EPSILON, DROPOUT, Layer, layers


def _block(layer: Layer) -> Any:
    if layer.kind == "conv":
        return nn.Conv2D(layer.outputs, 3, padding=1, in_channels=layer.inputs)
    if layer.kind == "batch_norm":
        return nn.BatchNorm(epsilon=BATCH_NORM_EPSILON, in_channels=layer.outputs)
    if layer.kind == "max_pool":
        return nn.MaxPool2D(2)
    if layer.kind == "avg_pool":
        return nn.GlobalAvgPool2D()
    if layer.kind == "linear":
        return nn.Dense(layer.outputs, in_units=layer.inputs)
    if layer.kind == "dropout":
        return nn.Dropout(DROPOUT)
    return nn.Activation("relu")


class ShapesNet(HybridBlock):
    """``features`` (convolutions with batch norm, ReLU, max-pool), ``avgpool``, ``classifier``: (N, 3, 96, 96) to
    class scores (N, 12)."""

    def __init__(self) -> None:
        super().__init__()
        parts: dict[str, list[Any]] = {}
        for layer in layers():
            parts.setdefault(layer.name.split(".")[0], []).append(_block(layer))
        self.features = nn.HybridSequential()
        self.features.add(*parts["features"])
        self.avgpool = parts["avgpool"][0]
        self.classifier = nn.HybridSequential()
        self.classifier.add(*parts["classifier"])

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.classifier(F.flatten(self.avgpool(self.features(x))))
