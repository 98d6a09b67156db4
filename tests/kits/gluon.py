"""The suite's networks in MXNet Gluon."""

from __future__ import annotations

from typing import Any

import mxnet as mx
from mxnet.gluon import HybridBlock, nn

from . import parameters

MAKE: dict[str, Any] = {
    "conv": lambda i, o, k, p: nn.Conv2D(o, k, padding=p, in_channels=i),
    "norm": lambda channels: nn.BatchNorm(in_channels=channels),
    "relu": lambda: nn.Activation("relu"),
    "sigmoid": lambda: nn.Activation("sigmoid"),
    "pool": lambda: nn.MaxPool2D(2),
    "dropout": nn.Dropout,
    "flatten": nn.Flatten,
    "dense": lambda i, o: nn.Dense(o, in_units=i),
}
NAMES = {"mean": "running_mean", "var": "running_var"}
NORM_NAMES = {"weight": "gamma", "bias": "beta", **NAMES}


def _fill(block: Any, kind: str, arrays: dict[str, Any], dtype: str) -> None:
    names = NORM_NAMES if kind == "norm" else {"weight": "weight", "bias": "bias"}
    for name, array in arrays.items():
        parameter = getattr(block, names[name])
        parameter.initialize()
        parameter.set_data(mx.nd.array(array, dtype=dtype))


def _parts(layers: list[tuple[Any, ...]], seed: int, dtype: str) -> list[Any]:
    blocks = [MAKE[kind](*sizes) for kind, *sizes in layers]
    for block, (kind, *_), arrays in zip(blocks, layers, parameters(layers, seed), strict=True):
        block.cast(dtype)
        _fill(block, kind, arrays, dtype)
    return blocks


def sequential(layers: list[tuple[Any, ...]], *, seed: int = 0, dtype: str = "float64") -> Any:
    """The layers in a row, with the suite's parameters."""
    network = nn.HybridSequential()
    network.add(*_parts(layers, seed, dtype))
    return network


class Reuse(HybridBlock):
    """One ReLU block, run twice."""

    def __init__(self, conv: Any, relu: Any, last: Any) -> None:
        super().__init__()
        self.conv, self.relu, self.last = conv, relu, last

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.last(self.relu(self.relu(self.conv(x)) - 0.1))


class Side(HybridBlock):
    """``side`` runs and its result is thrown away."""

    def __init__(self, conv: Any, side: Any, last: Any) -> None:
        super().__init__()
        self.conv, self.side, self.last = conv, side, last

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        y = self.conv(x)
        self.side(y)
        return self.last(F.relu(F.broadcast_add(y, F.sum(x, axis=1, keepdims=True))))


def reuse(size: int = 6) -> Any:
    """See :class:`Reuse`; layers "conv", "relu", "last"."""
    return Reuse(*_parts([("conv", 3, 2, 3, 1), ("relu",), ("dense", 2 * size * size, 4)], 0, "float64"))


def side(size: int = 6) -> Any:
    """See :class:`Side`; layers "conv", "side", "last"."""
    return Side(*_parts([("conv", 3, 2, 3, 1), ("conv", 2, 2, 3, 1), ("dense", 2 * size * size, 4)], 0, "float64"))


def variants(native: Any) -> dict[str, Any]:
    """The same network in every guise in which a user may hand it over."""
    again = nn.HybridSequential()
    again.add(*native._children.values())
    again.hybridize(static_alloc=True)
    return {"plain": native, "hybridised": again}


def snapshot(native: Any) -> Any:
    """All that must not change: hybridisation, hooks, attributes, grad_req, gradients, values, autograd's mode."""

    def walk(block: Any) -> Any:
        own = (
            getattr(block, "_active", None),
            len(block._forward_hooks),
            len(block._forward_pre_hooks),
            sorted(block.__dict__),
            str(getattr(block, "_kwargs", "")),
        )
        return own, {name: walk(child) for name, child in block._children.items()}

    values = {
        name: (
            parameter.grad_req,
            parameter.data().asnumpy().tolist(),
            None if parameter._grad is None else parameter.grad().asnumpy().tolist(),
        )
        for name, parameter in native._collect_params_with_prefix().items()
    }
    return walk(native), values, mx.autograd.is_recording(), mx.autograd.is_training()


def leave_gradients(native: Any, x: Any) -> None:
    """Train one step's worth, so that there are gradients to disturb."""
    with mx.autograd.record():
        total = native(mx.nd.array(x, dtype=x.dtype)).sum()
    total.backward()


def watch(native: Any, name: str) -> list[int]:
    """A list that grows whenever the block ``name`` computes on arrays."""
    calls: list[int] = []
    block = native
    for part in name.split("."):
        block = block._children[part]
    original = block.forward

    def counted(x: Any, *rest: Any) -> Any:
        if isinstance(x, mx.nd.NDArray):
            calls.append(1)
        return original(x, *rest)

    block.forward = counted
    return calls
