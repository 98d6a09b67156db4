"""What is examined: every layer type that the networks use, as plain data from which each backend builds its own.

:meth:`vizkit.backend.Backend.probe` gets a :class:`Case` and returns a :class:`Probe`: vizkit's model of the network of
its parts in a row, and beside it the ways in which a user of the framework would differentiate that network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from .model import Model
from .ops import Array
from .spec import InputSpec

BATCH = 2
"""Pictures in a probe; a layer must not mix them."""
Run = Callable[[Array, Array], tuple[Array, Array]]
"""``run(x, cotangent) -> (output, gradient of sum(output * cotangent) at x)``."""


@dataclass(frozen=True)
class Part:
    """One layer: ``kind``, ``settings`` by name, ``arrays`` (float64, each value exact in float32) by parameter.

    Kinds and settings: conv (stride, padding, groups; weight, bias), dense (weight, bias), batch_norm (eps; weight,
    bias, mean, var), max_pool and avg_pool (size, stride, padding, ceil), global_pool, relu, sigmoid, dropout (rate),
    softmax (over axis 1), flatten, concat (of the input and its ReLU, axis 1), add (the same two), resize (height,
    width).
    """

    kind: str
    settings: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)

    def whole(self, name: str) -> int:
        """A setting that is a number of pixels, channels or the like; 0 where it is not given."""
        return int(self.settings.get(name, 0))


@dataclass(frozen=True)
class Case:
    """A small network of ``parts`` in a row on pictures of ``shape`` (C, H, W)."""

    name: str
    parts: tuple[Part, ...]
    shape: tuple[int, int, int]

    @property
    def spec(self) -> InputSpec:
        """The input, without normalisation."""
        channels, height, width = self.shape
        return InputSpec((height, width), height, (0.0,) * channels, (1.0,) * channels)


@dataclass(frozen=True)
class Way:
    """One way to a gradient that a user of the framework may take, such as ``model.eval()`` and ``backward()``: ``run``
    takes and gives NumPy arrays. ``advice`` is for those whom it leads astray."""

    name: str
    run: Run
    advice: str


@dataclass(frozen=True)
class Probe:
    """A case built by a backend: the network as vizkit sees it, and the framework's own ways on the same network."""

    model: Model
    ways: tuple[Way, ...]


def exact(values: Array) -> Array:
    """float64 values that float32 holds without rounding, so that both precisions compute the same problem."""
    return values.astype(np.float32).astype(np.float64)


def inputs(case: Case, rng: np.random.Generator) -> Array:
    """(BATCH, C, H, W) float64, about -2..2: no two values of a picture alike and none near zero, so that no maximum
    and no ReLU is undecided, and no wrong choice agrees by chance."""
    count = prod(case.shape)
    rows = [(rng.permutation(count) - count / 2 + 0.3) * (4 / count) for _ in range(BATCH)]
    return exact(np.stack(rows).reshape(BATCH, *case.shape))


def cases(seed: int) -> tuple[Case, ...]:
    """Every layer type, then a network of most of them; parameters are drawn from the seed."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Array:
        return exact(rng.normal(0, prod(shape[1:]) ** -0.5, shape))

    def conv(source: int, target: int, size: int, stride: int = 1, padding: int = 0, groups: int = 1) -> Part:
        arrays = {"weight": draw(target, source // groups, size, size), "bias": draw(target)}
        return Part("conv", {"stride": stride, "padding": padding, "groups": groups}, arrays)

    def norm(channels: int) -> Part:
        arrays = {"weight": draw(channels), "bias": draw(channels), "mean": draw(channels)}
        return Part("batch_norm", {"eps": 1e-3}, arrays | {"var": exact(rng.uniform(0.5, 2.0, channels))})

    def pool(kind: str, size: int, stride: int, padding: int = 0, ceil: bool = False) -> Part:
        return Part(kind, {"size": size, "stride": stride, "padding": padding, "ceil": ceil})

    def dense(source: int, target: int) -> Part:
        return Part("dense", {}, {"weight": draw(target, source), "bias": draw(target)})

    relu, flat, dropout = Part("relu"), Part("flatten"), Part("dropout", {"rate": 0.5})
    whole = (
        *(conv(3, 8, 3, padding=1), norm(8), relu, pool("max_pool", 3, 2, ceil=True)),
        *(conv(8, 8, 3, padding=1, groups=2), Part("add"), Part("concat"), pool("max_pool", 2, 2)),
        *(dropout, flat, dense(64, 10)),
    )
    maps, odd = (8, 6, 6), (8, 8, 8)
    return (
        Case("convolution 3x3", (conv(8, 8, 3, padding=1),), maps),
        Case("convolution 3x3, stride 2", (conv(8, 8, 3, 2, 1),), maps),
        Case("convolution 7x7, stride 2", (conv(3, 8, 7, 2, 3),), (3, 11, 11)),
        Case("convolution 1x1", (conv(8, 16, 1),), maps),
        Case("convolution 1x1, stride 2", (conv(8, 16, 1, 2),), maps),
        Case("convolution 3x3, 4 groups", (conv(8, 8, 3, padding=1, groups=4),), maps),
        Case("dense", (flat, dense(288, 10)), maps),
        Case("flatten", (flat,), maps),
        Case("ReLU", (relu,), maps),
        Case("max-pool 2x2", (pool("max_pool", 2, 2),), maps),
        Case("max-pool 3x3, stride 2, padded", (pool("max_pool", 3, 2, 1),), odd),
        Case("max-pool 3x3, stride 2, ceil", (pool("max_pool", 3, 2, ceil=True),), odd),
        Case("max-pool 3x3, stride 1, ceil", (pool("max_pool", 3, 1, 1, ceil=True),), maps),
        Case("average-pool 2x2", (pool("avg_pool", 2, 2),), maps),
        Case("global average-pool", (Part("global_pool"),), maps),
        Case("batch norm, stored statistics", (norm(8),), maps),
        Case("dropout", (dropout,), maps),
        Case("concatenation", (Part("concat"),), maps),
        Case("residual addition", (Part("add"),), maps),
        Case("softmax", (Part("softmax"),), maps),
        Case("resize, bilinear", (Part("resize", {"height": 9, "width": 7}),), maps),
        Case("a network of these", whole, (3, 9, 9)),
    )
