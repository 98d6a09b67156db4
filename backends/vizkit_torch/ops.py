"""The functions of the contract on PyTorch tensors, whose gradients are right in inference mode as they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from vizkit.contract import draws
from vizkit.contract.backend import Array, Leaves, Ops, Scores

from .precision import settled

DTYPES = {"float32": torch.float32, "float64": torch.float64}
HELD = {"bfloat16": "float32", "tf32": "float32"}
"""What parameters, images and gradients are where a network computes in another dtype."""
Axis = int | tuple[int, ...]


class NotRecordableError(RuntimeError):
    """A step that is being recorded asked for something that a recording cannot hold."""


class TorchOps(Ops):
    """See :class:`vizkit.backend.Ops`. ``network_dtype`` is what the network computes in, with which products of
    matrices go along."""

    abs = staticmethod(torch.abs)
    exp = staticmethod(torch.exp)
    log = staticmethod(torch.log)
    sqrt = staticmethod(torch.sqrt)
    sin = staticmethod(torch.sin)
    cos = staticmethod(torch.cos)
    sigmoid = staticmethod(torch.sigmoid)
    relu = staticmethod(torch.relu)

    def __init__(self, device: str, network_dtype: str) -> None:
        self.device = device
        self.dtype = HELD.get(network_dtype, network_dtype)
        self.network_dtype = network_dtype
        self.recording: list[torch.Tensor] | None = None
        """While a step is recorded: constants that it reads, and that must live as long as the recording."""
        self._dtype = DTYPES[self.dtype]

    def asarray(self, array: npt.ArrayLike) -> torch.Tensor:
        given = np.asarray(array, order="C")
        with settled(self.device):
            if self.device == "cpu":
                return torch.from_numpy(given.copy()).to(self._dtype)
            return self._upload(given, self._dtype)

    def _upload(self, given: Array, dtype: torch.dtype) -> torch.Tensor:
        """On the device. From pinned memory, since from any other the host would wait for all that runs there."""
        if self.recording is not None:
            raise NotRecordableError("A recorded step brings nothing to the device.")
        host = torch.empty(given.shape, dtype=dtype, pin_memory=True)
        np.copyto(host.numpy(), given, casting="unsafe")
        return host.to(self.device, non_blocking=True)

    def zeros(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.zeros(shape, dtype=self._dtype, device=self.device)

    def constant(self, make: Callable[..., npt.ArrayLike], *args: Any) -> torch.Tensor:
        found: torch.Tensor = super().constant(make, *args)
        if self.recording is not None:
            self.recording.append(found)
        return found

    def numpy(self, tensor: torch.Tensor) -> Array:
        if self.recording is not None:
            raise NotRecordableError("A recorded step reads nothing from the device.")
        value: Array = tensor.detach().cpu().numpy()
        return value.copy() if tensor.device.type == "cpu" else value

    def double(self, x: torch.Tensor) -> torch.Tensor:
        return x.double()

    def memory(self) -> int | None:
        if self.device == "cpu":
            return None
        free, _ = torch.cuda.mem_get_info(self.device)
        return free + torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)

    def detach(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach()

    def _value_and_grad(self, fn: Scores, leaves: Leaves) -> tuple[torch.Tensor, Leaves, Any]:
        with settled(self.device, self.network_dtype), torch.enable_grad():
            marked = {name: _own(leaf).requires_grad_(True) for name, leaf in leaves.items()}
            scores, aux = fn(marked)
            if not scores.requires_grad:
                return scores, dict.fromkeys(marked), aux
            found = torch.autograd.grad(scores.sum(), list(marked.values()), allow_unused=True)
        return scores, dict(zip(marked, found, strict=True)), aux

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

    def softmax(self, x: torch.Tensor, axis: int = 1) -> torch.Tensor:
        return x.softmax(dim=axis)

    def top(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        return (places == x.argmax(dim=1, keepdim=True)).to(x.dtype)

    def normal(self, keys: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        count = math.prod(shape)
        pairs = (count + 1) // 2
        whole = keys.to(torch.int64)
        places = torch.arange(1, pairs + 1, device=keys.device) * _signed(draws.GOLDEN)
        drawn = torch.empty(len(keys), 2 * pairs, dtype=self._dtype, device=keys.device)
        # A processor's cache holds one row, a device wants all at once.
        size = 1 if self.device == "cpu" else max(1, len(keys))
        for start in range(0, len(keys), size):
            row, out = whole[start : start + size], drawn[start : start + size]
            z = _mix(_mix((row[:, :1] << draws.HALF) | row[:, 1:]) + places)
            angle = (z & _low(32)).double().mul_(2.0 * math.pi * 2.0**-32)
            radius = (z >> 32).bitwise_and_(_low(32)).double().add_(1.0).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
            out[:, :pairs] = angle.cos().mul_(radius)
            out[:, pairs:] = angle.sin_().mul_(radius)
        return drawn[:, :count].reshape(-1, *shape)

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
        at = self.constant(np.array, tuple(int(one) for one in index)).to(torch.int64)
        wide = at.reshape(-1, *(1,) * (x.dim() - 1)).expand(-1, 1, *x.shape[2:])
        return x.gather(1, wide).squeeze(1)  # whose gradient has no sums, which a device adds in any order

    def pad(self, x: torch.Tensor, width: int, value: float = 0.0) -> torch.Tensor:
        return F.pad(x, (width,) * 4, value=value)

    def conv(
        self, x: torch.Tensor, weight: torch.Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> torch.Tensor:
        with settled(self.device):
            return F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)

    def matmul(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        with settled(self.device):
            return a @ b

    def sample(self, x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = Sample.apply(x, rows, columns)
        return made

    def irfft2(self, spectrum: torch.Tensor, width: int) -> torch.Tensor:
        whole = torch.complex(spectrum[:, :, 0], spectrum[:, :, 1])
        made: torch.Tensor = torch.fft.irfft2(whole, s=(whole.shape[2], width), norm="ortho")
        return made


class Sample(torch.autograd.Function):
    """Bilinear sampling; only the picture has a gradient. PyTorch's own adds that up on a device in any order, so that
    its last digits differ from time to time; here it is added up in whole numbers, whose sum has no order."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(rows, columns)
        ctx.sides = x.shape[2:]
        flat = x.reshape(*x.shape[:2], -1)
        taken = [weight * flat[:, :, at] for at, weight in _taps(rows, columns, x.shape[2:])]
        return sum(taken[1:], taken[0]).reshape(*x.shape[:2], *rows.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        rows, columns = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, rows.numel())
        # The largest sum that there can be has 62 bits.
        largest = gradient.abs().amax().double().clamp(min=torch.finfo(torch.float64).tiny) * rows.numel()
        most = math.log2(torch.finfo(gradient.dtype).max) - 1.0
        scale = torch.exp2(torch.floor(62.0 - torch.log2(largest)).clamp(max=most))
        total = torch.zeros(len(gradient), math.prod(ctx.sides), dtype=torch.int64, device=gradient.device)
        for at, weight in _taps(rows, columns, ctx.sides):
            total.index_add_(1, at, (gradient * weight * scale).round().to(torch.int64))
        summed = (total / scale).to(gradient.dtype)
        return summed.reshape(*gradients[0].shape[:2], *ctx.sides), None, None


def _taps(
    rows: torch.Tensor, columns: torch.Tensor, sides: Sequence[int]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The four pixels around each place: their flat positions, and their shares; none has one beyond the edge."""
    top, left = rows.floor(), columns.floor()
    for row, down in ((top, 1.0 - (rows - top)), (top + 1.0, rows - top)):
        for column, across in ((left, 1.0 - (columns - left)), (left + 1.0, columns - left)):
            inside = (row >= 0) & (row < sides[0]) & (column >= 0) & (column < sides[1])
            at = row.clamp(0, sides[0] - 1) * sides[1] + column.clamp(0, sides[1] - 1)
            yield at.to(torch.int64).flatten(), (down * across * inside).flatten()


def _mix(z: torch.Tensor) -> torch.Tensor:
    """The finaliser of :mod:`vizkit.draws` on signed words, whose shifts to the right must not bring in the sign."""
    for shift, factor in draws.MIXING:
        z = (z >> shift).bitwise_and_(_low(64 - shift)).bitwise_xor_(z).mul_(_signed(factor))
    return (z >> draws.LAST).bitwise_and_(_low(64 - draws.LAST)).bitwise_xor_(z)


def _low(bits: int) -> int:
    return int((1 << bits) - 1)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _own(leaf: torch.Tensor) -> torch.Tensor:
    """What a gradient can be taken with respect to; of a tensor made in inference mode, a copy."""
    return leaf.clone() if leaf.is_inference() else leaf.detach()
