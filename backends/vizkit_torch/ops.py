"""The functions of the contract on PyTorch tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from vizkit.backend import Array, Leaves, Ops, Scores
from vizkit.errors import DisconnectedError, ShapeError
from vizkit.ops import corner_grid

from .precision import settled

DTYPES = {"float32": torch.float32, "float64": torch.float64}
HELD = {"bfloat16": "float32"}
"""What parameters, images and gradients are where a network computes in another dtype."""
Axis = int | tuple[int, ...]


class TorchOps(Ops):
    """See :class:`vizkit.backend.Ops`."""

    def __init__(self, device: str, dtype: str) -> None:
        self.device = device
        self.dtype = dtype
        self._dtype = DTYPES[dtype]

    def asarray(self, array: npt.ArrayLike) -> torch.Tensor:
        with settled(self.device):
            return self._upload(torch.from_numpy(np.array(array, order="C", copy=True)).to(self._dtype))

    def _upload(self, host: torch.Tensor) -> torch.Tensor:
        """On the device. From pinned memory, since from any other the host would wait for all that runs there."""
        return host if self.device == "cpu" else host.pin_memory().to(self.device, non_blocking=True)

    def numpy(self, tensor: torch.Tensor) -> Array:
        value: Array = tensor.detach().cpu().numpy().copy()
        return value

    def detach(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach()

    def value_and_grad(self, fn: Scores, leaves: Leaves) -> tuple[torch.Tensor, Leaves, Any]:
        with settled(self.device), torch.enable_grad():
            marked = {name: _own(leaf).requires_grad_(True) for name, leaf in leaves.items()}
            scores, aux = fn(marked)
            if scores.ndim != 1:
                raise ShapeError(f"Scores must have shape (N,), one per sample; got {tuple(scores.shape)}.")
            if not scores.requires_grad:
                raise DisconnectedError(disconnected(list(marked)))
            found = torch.autograd.grad(scores.sum(), list(marked.values()), allow_unused=True)
        gradients = dict(zip(marked, found, strict=True))
        missing = [name for name, gradient in gradients.items() if gradient is None]
        if missing:
            raise DisconnectedError(disconnected(missing))
        return scores.detach(), gradients, detach(aux)

    def is_out_of_memory(self, error: BaseException) -> bool:
        text = str(error)
        return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
            isinstance(error, RuntimeError) and ("can't allocate memory" in text or "not enough memory" in text)
        )

    def sum(self, x: torch.Tensor, axis: Axis, keepdims: bool = False) -> torch.Tensor:
        return x.sum(dim=axis, keepdim=keepdims)

    def mean(self, x: torch.Tensor, axis: Axis, keepdims: bool = False) -> torch.Tensor:
        return x.mean(dim=axis, keepdim=keepdims)

    def max(self, x: torch.Tensor, axis: Axis, keepdims: bool = False) -> torch.Tensor:
        return x.amax(dim=axis, keepdim=keepdims)

    def abs(self, x: torch.Tensor) -> torch.Tensor:
        return x.abs()

    def exp(self, x: torch.Tensor) -> torch.Tensor:
        return x.exp()

    def log(self, x: torch.Tensor) -> torch.Tensor:
        return x.log()

    def sqrt(self, x: torch.Tensor) -> torch.Tensor:
        return x.sqrt()

    def sin(self, x: torch.Tensor) -> torch.Tensor:
        return x.sin()

    def cos(self, x: torch.Tensor) -> torch.Tensor:
        return x.cos()

    def sigmoid(self, x: torch.Tensor) -> torch.Tensor:
        return x.sigmoid()

    def relu(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu()

    def softmax(self, x: torch.Tensor, axis: int = 1) -> torch.Tensor:
        return x.softmax(dim=axis)

    def where(self, condition: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.where(condition != 0, a, b)

    def maximum(self, a: torch.Tensor, b: torch.Tensor | float) -> torch.Tensor:
        return torch.maximum(a, b) if isinstance(b, torch.Tensor) else a.clamp(min=b)

    def minimum(self, a: torch.Tensor, b: torch.Tensor | float) -> torch.Tensor:
        return torch.minimum(a, b) if isinstance(b, torch.Tensor) else a.clamp(max=b)

    def concat(self, tensors: Sequence[torch.Tensor], axis: int = 0) -> torch.Tensor:
        return torch.cat(list(tensors), dim=axis)

    def reshape(self, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return x.reshape(shape)

    def transpose(self, x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        return x.permute(axes)

    def pick(self, x: torch.Tensor, index: Sequence[int]) -> torch.Tensor:
        rows = torch.arange(len(x), device=x.device)
        return x[rows, self._upload(torch.from_numpy(np.array(index, np.int64)))]

    def pad(self, x: torch.Tensor, width: int, mode: str = "constant", value: float = 0.0) -> torch.Tensor:
        sides = (width,) * 4
        return F.pad(x, sides, value=value) if mode == "constant" else F.pad(x, sides, mode=mode)

    def conv(
        self, x: torch.Tensor, weight: torch.Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> torch.Tensor:
        with settled(self.device):
            return F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)

    def matmul(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        with settled(self.device):
            return a @ b

    def sample(self, x: torch.Tensor, at: Array) -> torch.Tensor:
        grid = self.asarray(corner_grid(at, *x.shape[2:])[..., ::-1])
        return F.grid_sample(x, grid[None].expand(len(x), -1, -1, -1), align_corners=True)

    def irfft2(self, spectrum: torch.Tensor, width: int) -> torch.Tensor:
        whole = torch.complex(spectrum[:, :, 0], spectrum[:, :, 1])
        made: torch.Tensor = torch.fft.irfft2(whole, s=(whole.shape[2], width), norm="ortho")
        return made


def _own(leaf: torch.Tensor) -> torch.Tensor:
    """What a gradient can be taken with respect to; of a tensor made in inference mode, a copy."""
    return leaf.clone() if leaf.is_inference() else leaf.detach()


def disconnected(names: Sequence[str]) -> str:
    """The message for a gradient that does not exist."""
    return (
        f"The score does not depend on {' and '.join(repr(name) for name in names)}, so it has no gradient there. "
        "Take a layer that lies before the score, or a score that comes after it."
    )


def detach(value: Any) -> Any:
    """Detach every tensor in nested tuples, lists and dicts."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {key: detach(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(detach(item) for item in value)
    return value
