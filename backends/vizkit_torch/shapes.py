"""The ``shapes`` network in PyTorch, built from the description in ``vizkit.zoo.shapes``, and its weights file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import nn

from vizkit.zoo.shapes import BATCH_NORM_EPSILON, CLASSES, DROPOUT, INPUT_SIZE, MEAN, STD, Layer, layers

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


def as_input(images: NDArray[np.uint8]) -> torch.Tensor:
    """The network's input (N, 3, 96, 96) float32, normalised, from pictures (N, 96, 96, 3) uint8."""
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last) / 255
    return (scaled - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


@torch.no_grad()
def scores(network: ShapesNet, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The class scores (N, 12) of pictures (N, 96, 96, 3), with dropout off and batch norm's stored statistics."""
    was_training = network.training
    network.eval()
    found = [network(as_input(images[start : start + 240])).numpy() for start in range(0, len(images), 240)]
    network.train(was_training)
    return np.concatenate(found)


def weights_file(network: ShapesNet) -> bytes:
    """The safetensors file: float32 tensors under torchvision's names, and what is needed to use them."""
    tensors = {
        name: tensor.detach().contiguous().numpy()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    about = {
        "format_version": "1",
        "input_size": str(INPUT_SIZE),
        "labels": json.dumps(CLASSES),
        "mean": json.dumps(MEAN),
        "model": "shapes",
        "std": json.dumps(STD),
    }
    content = save(tensors, about)
    # safetensors writes the strings in an order that changes from run to run: put them back in ours.
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]) | {"__metadata__": about}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[start:]
