"""Networks of the catalog for pictures smaller than the 224 pixels they were made for: every layer, merged branches and
pools that round up, in a tenth of the time."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any
from unittest import mock

from conftest import shared_file

import vizkit


def smaller(backend: str, name: str, side: int, weights: str, dtype: str = "float64") -> Any:
    """A network by name, for pictures of (side, side)."""
    with _any_size() if backend == "gluon" else nullcontext():
        model = vizkit.load(name, backend=backend, weights=weights, dtype=dtype)
    model.spec = replace(model.spec, size=(side, side), resize=side * 8 // 7)
    return model


def squeezenet(backend: str, side: int = 64, dtype: str = "float64") -> Any:
    """SqueezeNet with its real weights."""
    weights = str(shared_file("weights/squeezenet1_0-imagenet.safetensors"))
    return smaller(backend, "squeezenet1_0", side, weights, dtype)


def _any_size() -> Any:
    """Gluon's SqueezeNet ends in the mean of 13 x 13 places, which there are at 224 pixels alone; PyTorch's in that of
    all."""
    vizkit.backend.get("gluon")
    from mxnet.gluon import nn

    return mock.patch.object(nn, "AvgPool2D", return_value=nn.GlobalAvgPool2D())
