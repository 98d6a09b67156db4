"""One network in every backend with its channels first, last, and as tokens, of which one is no part of the picture."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import vizkit

from . import kit

SIDE, WIDTH, CLASSES = 16, 10, 5
ORDERS = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 2, 3, 1), "NTC": (0, 2, 3, 1)}
PLACES = (SIDE // 2) ** 2


def in_torch(order: str, weights: list[Any]) -> Any:
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, WIDTH, 3, stride=2, padding=1), nn.ReLU()
            self.head = nn.Linear(WIDTH, CLASSES)

        def forward(self, x: Any) -> Any:
            y = self.conv(x).permute(*ORDERS[order])
            if order == "NTC":
                y = nn.functional.pad(y.flatten(1, 2), (0, 0, 1, 0))
            y = self.act(y)
            means = {"NCHW": (2, 3), "NHWC": (1, 2)}
            return self.head(y.mean(means[order]) if order in means else y.sum(1) / PLACES)

    network = Network().double()
    for parameter, value in zip(network.parameters(), weights, strict=True):
        parameter.data = torch.tensor(value)
    return network


def in_gluon(order: str, weights: list[Any]) -> Any:
    import mxnet as mx
    from mxnet.gluon import nn

    class Network(mx.gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            with self.name_scope():
                self.conv, self.act = nn.Conv2D(WIDTH, 3, 2, 1, in_channels=3), nn.Activation("relu")
                self.head = nn.Dense(CLASSES, in_units=WIDTH)

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            y = F.transpose(self.conv(x), axes=ORDERS[order])
            if order == "NTC":
                y = F.reshape(y, (0, -3, 0))
                y = F.concat(0 * F.slice_axis(y, axis=1, begin=0, end=1), y, dim=1)
            y = self.act(y)
            means = {"NCHW": (2, 3), "NHWC": (1, 2)}
            return self.head(F.mean(y, axis=means[order]) if order in means else F.sum(y, axis=1) / PLACES)

    network = Network()
    network.initialize()
    network.cast("float64")
    for parameter, value in zip(network.collect_params().values(), weights, strict=True):
        parameter.set_data(mx.nd.array(value, dtype="float64"))
    return network


@cache
def network(backend: str, order: str) -> Any:
    kit(backend)
    rng = np.random.default_rng(3)
    shapes = [(WIDTH, 3, 3, 3), (WIDTH,), (CLASSES, WIDTH), (CLASSES,)]
    native = {"torch": in_torch, "gluon": in_gluon}[backend](order, [rng.normal(size=shape) for shape in shapes])
    return vizkit.wrap(native, input_size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3)
