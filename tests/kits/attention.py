"""Small transformers: torchvision's, and one with the same weights in both frameworks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import vizkit

HEADS, CLASSES = 2, 5
METHODS = ("attention", "attention_rollout", "attention_relevance")
LAST = "encoder.layers.encoder_layer_2.self_attention:attention"
"""The last attention of :func:`vit`."""


def photo(seed: int = 3, size: tuple[int, int] = (64, 64)) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def wrapped(native: Any, size: Any = 64, **options: Any) -> Any:
    return vizkit.wrap(native, input_size=size, mean=(0.5,) * 3, std=(0.25,) * 3, **options)


def vit() -> Any:
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    made = torchvision.models.VisionTransformer(
        image_size=64, patch_size=16, num_layers=3, num_heads=HEADS, hidden_dim=32, mlp_dim=64, num_classes=CLASSES
    )
    torch.nn.init.normal_(made.heads.head.weight)
    return made.double().eval()


# The same network in both frameworks: patches, a class token or none, two attentions, a dense layer.
PATCH, WIDTH, BLOCKS = 8, 12, 2


def numbers() -> dict[str, Any]:
    rng = np.random.default_rng(7)
    shapes = {"patch": (WIDTH, 3, PATCH, PATCH), "head": (CLASSES, WIDTH)}
    shapes |= {f"{part}{i}": (WIDTH, WIDTH) for i in range(BLOCKS) for part in "qkvo"}
    return {name: rng.normal(size=shape) / math.sqrt(np.prod(shape[1:])) for name, shape in shapes.items()}


def in_torch(token: bool) -> Any:
    import torch
    from torch import nn

    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))

        def forward(self, x: Any) -> Any:
            q, k, v = (part(x).unflatten(2, (HEADS, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
            y = nn.functional.scaled_dot_product_attention(q, k, v)
            return x + self.o(y.transpose(1, 2).flatten(2))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
            self.blocks = nn.ModuleList(Attend() for _ in range(BLOCKS))
            self.head = nn.Linear(WIDTH, CLASSES, bias=False)

        def forward(self, x: Any) -> Any:
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([x.mean(1, keepdim=True), x], 1) if token else x
            for block in self.blocks:
                x = block(x)
            return self.head(x[:, 0] if token else x.mean(1))

    made = Net().double()
    state = {f"{name}.weight": value for name, value in numbers().items() if len(name) > 2}
    state |= {f"blocks.{i}.{part}.weight": numbers()[f"{part}{i}"] for i in range(BLOCKS) for part in "qkvo"}
    made.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return made


def in_gluon(token: bool) -> Any:
    import mxnet as mx
    from mxnet.gluon import HybridBlock, nn

    class Probabilities(HybridBlock):
        def hybrid_forward(self, F: Any, scores: Any) -> Any:
            return F.softmax(scores, axis=-1)

    def dense(name: str) -> Any:
        made = nn.Dense(WIDTH, flatten=False, use_bias=False, in_units=WIDTH, dtype="float64")
        made.initialize()
        made.weight.set_data(mx.nd.array(numbers()[name], dtype="float64"))
        return made

    class Attend(HybridBlock):
        def __init__(self, i: int) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = (dense(f"{part}{i}") for part in "qkvo")
            self.probabilities, self.drop = Probabilities(), nn.Dropout(0.3)

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            q, k, v = (
                F.transpose(F.reshape(part(x), (0, 0, HEADS, -1)), (0, 2, 1, 3)) for part in (self.q, self.k, self.v)
            )
            scores = F.linalg_gemm2(q, k, transpose_b=True, alpha=1 / math.sqrt(WIDTH / HEADS))
            y = F.linalg_gemm2(self.drop(self.probabilities(scores)), v)
            return x + self.o(F.reshape(F.transpose(y, (0, 2, 1, 3)), (0, 0, -1)))

    class Net(HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2D(WIDTH, PATCH, PATCH, in_channels=3, use_bias=False)
            self.blocks = nn.HybridSequential()
            self.blocks.add(*(Attend(i) for i in range(BLOCKS)))
            self.head = nn.Dense(CLASSES, use_bias=False, in_units=WIDTH)
            for name in ("patch", "head"):
                block = getattr(self, name)
                block.cast("float64")
                block.initialize()
                block.weight.set_data(mx.nd.array(numbers()[name], dtype="float64"))

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            x = F.transpose(F.reshape(self.patch(x), (0, 0, -1)), (0, 2, 1))
            x = F.concat(F.mean(x, axis=1, keepdims=True), x, dim=1) if token else x
            x = self.blocks(x)
            x = F.slice_axis(x, axis=1, begin=0, end=1) if token else F.mean(x, axis=1, keepdims=True)
            return self.head(F.flatten(x))

    return Net()


MAKE = {"torch": in_torch, "gluon": in_gluon}


def tiny(backend: str, token: bool = True, size: Any = (40, 24)) -> Any:
    if backend not in MAKE:
        pytest.skip(f"no such network in {backend} yet")
    return wrapped(MAKE[backend](token), size, name="tiny")
