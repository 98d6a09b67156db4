"""oneDNN's own memory layout from one convolution to the next, for the length of one pass.

PyTorch's convolutions on a CPU bring every input to oneDNN's blocks of channels and every result back to plain memory.
Here activations stay in blocks as long as all that reads them can: convolutions, ReLU, max pooling, sums. Whatever else
reads them gets plain memory. The kernels are those of plain memory, and of MXNet, so that digits are theirs, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from .dense import Dense, single
from .joining import Joined, joins
from .packed import Packs
from .relu import RELUS
from .strided import StridedConvolution, fits

SUMS = {torch.add, torch.Tensor.add, torch.Tensor.add_, torch.Tensor.__add__, torch.Tensor.__iadd__}
READERS = {torch.conv2d, F.max_pool2d, torch.max_pool2d}
"""What these read is brought to blocks."""
JOINING = {torch.cat, torch.concat, torch.concatenate}
ASKING = ("__get__", "dim", "ndimension", "size", "numel", "is_floating_point", "__len__", "to_dense", "to_mkldnn")
"""Calls that blocks can answer."""
LEAST = 80 * 80
"""Pixels in a batch below which plain memory is faster."""
FEW = 8
"""Layers that are read from outside beyond which blocks lose: each of them is brought to plain memory."""


class Blocked(TorchFunctionMode):
    """Keeps activations in blocks. ``relu``: also behind ReLUs, where these have their own gradient; ``packs``: weights
    that are kept in another form.

    Raises RuntimeError from :meth:`check` when the network wrote into something that it got as a copy.
    """

    def __init__(self, relu: bool, packs: Packs) -> None:
        super().__init__()
        self._packs = packs
        self._passed = RELUS if relu else set()
        self._made: dict[int, tuple[torch.Tensor, int, torch.Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.conv2d and not kwargs:
            return self._convolution(args)
        if func in JOINING and not kwargs and joins(args):
            return Joined.apply(*args[0])
        if func is F.linear and not kwargs and single(args):
            return Dense.apply(*args)
        if func in READERS and args:
            return func(self._blocks(args[0]), *args[1:], **kwargs)
        if func in self._passed or getattr(func, "__name__", "") in ASKING:
            return func(*args, **kwargs)
        if func in SUMS and not kwargs and _alike(args):
            return func(args[0], (self._blocks if args[0].is_mkldnn else self._plain)(args[1]))
        return func(*self._plain(args), **{key: self._plain(value) for key, value in kwargs.items()})

    def _convolution(self, args: Sequence[Any]) -> torch.Tensor:
        if fits(args):
            x, weight, bias, (stride, _), padding, *_ = args
            kernel = self._packs.kernel(weight, stride)
            made: torch.Tensor = StridedConvolution.apply(x, weight, bias, stride, padding, kernel)
            return made
        x = self._blocks(args[0])
        packed = self._packs.convolution(x, args)
        return torch.conv2d(x, *args[1:]) if packed is None else packed

    def _blocks(self, x: torch.Tensor) -> torch.Tensor:
        """An image or activation in blocks; anything else as it is."""
        if x.is_mkldnn or x.dtype != torch.float32 or x.dim() != 4:
            return x
        return self._once(x, torch.Tensor.to_mkldnn)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._once(value, torch.Tensor.to_dense) if value.is_mkldnn else value
        return type(value)(map(self._plain, value)) if type(value) in (list, tuple) else value

    def _once(self, x: torch.Tensor, convert: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """One copy for all that read ``x``, as long as nobody writes into it."""
        held, version, made = self._made.get(id(x), (None, 0, x))
        if held is not x or version != x._version:
            made = convert(x)
            self._made[id(x)] = (x, x._version, made)
        return made

    def check(self) -> None:
        """Call it after the pass: a view of a copy may have been written long after the copy was made."""
        if any(made._version for _, _, made in self._made.values()):
            raise RuntimeError("This network writes into an activation in place, which blocks do not allow.")


def plain(x: torch.Tensor) -> torch.Tensor:
    """In plain memory; what is there already as it is."""
    return x.to_dense() if x.is_mkldnn else x


def _alike(args: Sequence[Any]) -> bool:
    """Whether these are two activations of one shape."""
    return all(isinstance(one, torch.Tensor) and one.dtype == torch.float32 for one in args) and (
        args[0].shape == args[1].shape
    )
