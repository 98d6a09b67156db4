"""The doctor's small networks in PyTorch, and the way in which its users differentiate."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from vizkit.contract.backend import AS_GIVEN, Array, Weights
from vizkit.contract.probes import Case, Part, Probe, Run, Way

from .model import TorchModel
from .networks import check_device
from .ops import DTYPES

ADVICE = (
    "On this machine model.eval() and backward() give a gradient that is far from the true one. Try another version of "
    "PyTorch or of the GPU's driver, and torch.backends.cudnn.enabled = False."
)
NAMES = {"mean": "running_mean", "var": "running_var"}


class Function(nn.Module):
    """What no module of PyTorch's does."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def _resize(part: Part) -> nn.Module:
    size = (part.whole("height"), part.whole("width"))
    return Function(lambda x: F.interpolate(x, size, mode="bilinear", align_corners=False))


def _conv(part: Part) -> nn.Module:
    outputs, inputs, size, _ = part.arrays["weight"].shape
    groups = part.whole("groups")
    return nn.Conv2d(inputs * groups, outputs, size, part.whole("stride"), part.whole("padding"), groups=groups)


def _pool(part: Part) -> nn.Module:
    kind: type[nn.MaxPool2d | nn.AvgPool2d] = nn.MaxPool2d if part.kind == "max_pool" else nn.AvgPool2d
    sizes = (part.whole("size"), part.whole("stride"), part.whole("padding"))
    return kind(*sizes, ceil_mode=bool(part.settings["ceil"]))


MAKE: dict[str, Callable[[Part], nn.Module]] = {
    "conv": _conv,
    "dense": lambda part: nn.Linear(part.arrays["weight"].shape[1], part.arrays["weight"].shape[0]),
    "batch_norm": lambda part: nn.BatchNorm2d(len(part.arrays["weight"]), eps=part.settings["eps"]),
    "max_pool": _pool,
    "avg_pool": _pool,
    "global_pool": lambda part: nn.AdaptiveAvgPool2d(1),
    "relu": lambda part: nn.ReLU(inplace=True),
    "sigmoid": lambda part: nn.Sigmoid(),
    "dropout": lambda part: nn.Dropout(part.settings["rate"]),
    "softmax": lambda part: nn.Softmax(dim=1),
    "flatten": lambda part: nn.Flatten(),
    "concat": lambda part: Function(lambda x: torch.cat([x, F.relu(x)], dim=1)),
    "add": lambda part: Function(lambda x: x + F.relu(x)),
    "resize": _resize,
}


def build(case: Case, device: str, dtype: str) -> nn.Module:
    """The case's network, in inference mode."""
    network = nn.Sequential(*(MAKE[part.kind](part) for part in case.parts)).to(device, DTYPES[dtype])
    with torch.no_grad():
        for module, part in zip(network, case.parts, strict=True):
            for name, array in part.arrays.items():
                getattr(module, NAMES.get(name, name)).copy_(torch.from_numpy(array))
    return network.eval()


def obvious(network: nn.Module, device: str, dtype: str) -> Run:
    """``model.eval()`` and ``backward()``."""

    def run(x: Array, cotangent: Array) -> tuple[Array, Array]:
        image = torch.tensor(x, device=device, dtype=DTYPES[dtype], requires_grad=True)
        weight = torch.tensor(cotangent, device=device, dtype=DTYPES[dtype])
        with torch.enable_grad():
            y = network(image.clone())  # a copy, since a leaf may not be written to by an in-place ReLU
            (y * weight).sum().backward()  # backward(weight) gives the same, and imports SymPy first
        gradient = image.grad
        if gradient is None:
            raise RuntimeError("backward() left no gradient at the input")
        return y.detach().cpu().numpy(), gradient.cpu().numpy()

    return run


def probe(case: Case, device: str, dtype: str) -> Probe:
    """See :meth:`vizkit.backend.Backend.probe`."""
    device = check_device(device)
    network = build(case, device, dtype)
    model = TorchModel(network, case.spec, name=case.name, weights=Weights(AS_GIVEN), device=device, dtype=dtype)
    return Probe(model, (Way("model.eval(), backward()", obvious(network, device, dtype), ADVICE),))
