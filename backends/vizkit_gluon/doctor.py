"""The doctor's small networks in Gluon, and the ways in which MXNet's users differentiate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mxnet as mx
from mxnet.gluon import nn

from vizkit.contract.backend import AS_GIVEN, Array, Weights
from vizkit.contract.probes import Case, Part, Probe, Run, Way

from .legacy import legacy
from .model import GluonModel
from .networks import check_device
from .ops import context

ADVICE = (
    "Within record(train_mode=False), MXNet's max-pool on a CPU keeps nothing to differentiate with: its output is "
    "right and its gradient is whatever lay in memory, silently; and backward() without train_mode=False "
    "differentiates batch norm as if it had used the batch's statistics. Saliency maps drawn that way show noise. "
    "Record and differentiate with train_mode=True, dropout rate 0 and batch norm's use_global_stats=True, as vizkit "
    "does. The environment variable MXNET_MKLDNN_ENABLED=0 mends the max-pool alone, and is slower."
)
WAYS = {"record(train_mode=False), backward()": True, "record(train_mode=False), backward(train_mode=False)": False}
NAMES = {"mean": "running_mean", "var": "running_var"}
NORM_NAMES = {"weight": "gamma", "bias": "beta", **NAMES}


def _conv(part: Part) -> Any:
    outputs, inputs, size, _ = part.arrays["weight"].shape
    groups = part.whole("groups")
    sides = (part.whole("stride"), part.whole("padding"))
    return nn.Conv2D(outputs, size, *sides, groups=groups, in_channels=inputs * groups)


def _pool(part: Part) -> Any:
    kind = nn.MaxPool2D if part.kind == "max_pool" else nn.AvgPool2D
    sizes = (part.whole("size"), part.whole("stride"), part.whole("padding"))
    return kind(*sizes, ceil_mode=bool(part.settings["ceil"]))


def _resize(part: Part) -> Any:
    size = {"height": part.whole("height"), "width": part.whole("width")}
    return nn.HybridLambda(lambda F, x: F.contrib.BilinearResize2D(x, **size, align_corners=False))


MAKE: dict[str, Callable[[Part], Any]] = {
    "conv": _conv,
    "dense": lambda part: nn.Dense(len(part.arrays["weight"]), in_units=part.arrays["weight"].shape[1]),
    "batch_norm": lambda part: nn.BatchNorm(epsilon=part.settings["eps"], in_channels=len(part.arrays["weight"])),
    "max_pool": _pool,
    "avg_pool": _pool,
    "global_pool": lambda part: nn.GlobalAvgPool2D(),
    "relu": lambda part: nn.Activation("relu"),
    "sigmoid": lambda part: nn.Activation("sigmoid"),
    "dropout": lambda part: nn.Dropout(part.settings["rate"]),
    "softmax": lambda part: nn.HybridLambda(lambda F, x: F.softmax(x, axis=1)),
    "flatten": lambda part: nn.Flatten(),
    "concat": lambda part: nn.HybridLambda(lambda F, x: F.concat(x, F.relu(x), dim=1)),
    "add": lambda part: nn.HybridLambda(lambda F, x: x + F.relu(x)),
    "resize": _resize,
}


def build(case: Case, device: str, dtype: str) -> Any:
    """The case's network."""
    network = nn.HybridSequential()
    for part in case.parts:
        block = MAKE[part.kind](part)
        block.cast(dtype)
        names = NORM_NAMES if part.kind == "batch_norm" else {}
        for name, array in part.arrays.items():
            parameter = getattr(block, names.get(name, name))
            parameter.initialize(ctx=context(device))
            parameter.set_data(mx.nd.array(array, dtype=dtype))
        network.add(block)
    return network


def obvious(network: Any, device: str, dtype: str, train_mode: bool) -> Run:
    """``record(train_mode=False)`` and ``backward(train_mode=...)``."""

    def run(x: Array, cotangent: Array) -> tuple[Array, Array]:
        image = mx.nd.array(x, ctx=context(device), dtype=dtype)
        weight = mx.nd.array(cotangent, ctx=context(device), dtype=dtype)
        image.attach_grad()
        with mx.autograd.record(train_mode=False):
            y = network(image)
        y.backward(weight, train_mode=train_mode)
        return y.asnumpy(), image.grad.asnumpy()

    return run


@legacy()
def probe(case: Case, device: str, dtype: str) -> Probe:
    """See :meth:`vizkit.backend.Backend.probe`."""
    device = check_device(device)
    network = build(case, device, dtype)
    model = GluonModel(network, case.spec, name=case.name, weights=Weights(AS_GIVEN), device=device, dtype=dtype)
    return Probe(model, tuple(Way(name, obvious(network, device, dtype, mode), ADVICE) for name, mode in WAYS.items()))
