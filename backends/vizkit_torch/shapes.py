"""The ``shapes`` network in PyTorch, built from the description in ``vizkit.zoo.shapes``."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from vizkit.zoo.shapes import BATCH_NORM_EPSILON, DROPOUT, Layer, layers

MAKE: dict[str, Callable[[Layer], nn.Module]] = {
    "conv": lambda layer: nn.Conv2d(layer.inputs, layer.outputs, 3, padding=1),
    "batch_norm": lambda layer: nn.BatchNorm2d(layer.outputs, eps=BATCH_NORM_EPSILON),
    "max_pool": lambda layer: nn.MaxPool2d(2),
    "avg_pool": lambda layer: nn.AdaptiveAvgPool2d(1),
    "linear": lambda layer: nn.Linear(layer.inputs, layer.outputs),
    "dropout": lambda layer: nn.Dropout(DROPOUT),
    "relu": lambda layer: nn.ReLU(),
}


class ShapesNet(nn.Module):
    """``features`` (convolutions with batch norm, ReLU, max-pool), ``avgpool``, ``classifier``, as torchvision's VGG.

    Example:
        >>> ShapesNet().eval()(torch.zeros(1, 3, 96, 96)).shape
        torch.Size([1, 12])
    """

    def __init__(self) -> None:
        super().__init__()
        parts: dict[str, list[nn.Module]] = {}
        for layer in layers():
            parts.setdefault(layer.name.split(".")[0], []).append(MAKE[layer.kind](layer))
        self.features = nn.Sequential(*parts["features"])
        self.avgpool = parts["avgpool"][0]
        self.classifier = nn.Sequential(*parts["classifier"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores (N, 12), before the softmax, of normalised pictures (N, 3, 96, 96)."""
        return cast(torch.Tensor, self.classifier(torch.flatten(self.avgpool(self.features(x)), 1)))
