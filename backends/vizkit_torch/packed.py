"""Weights kept in the form in which oneDNN's kernels read them.

PyTorch hands oneDNN plain weights, which are rearranged at every convolution, and again at its gradient: a twentieth of
ResNet152's pass. The one form that PyTorch can keep and that blocks can use is a transposed convolution's. Exactly that
is what the gradient of a convolution without stride reads, where it has as many channels before as behind; and a 1x1
convolution's, with its channels exchanged, is what the forward pass reads. The kernels get the same numbers in the same
order, so that digits are those of plain weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from .strided import phases

LATER = 8
"""Uses after which a form is made: getting memory for it takes about ten times as long as it then saves each time."""
FEW = 3
"""Images at once up to which it pays: beyond, one rearrangement serves many."""
BLOCK = 16
"""Channels below which kernels read other forms."""


class Packed(torch.autograd.Function):
    """``conv2d(x, weight, bias, 1, padding)`` of blocks. Only ``x`` has a gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, bias: torch.Tensor | None, weight: Weight, padding: tuple[int, int]
    ) -> torch.Tensor:
        ctx.given = weight, padding
        return torch.conv2d(x, weight.ahead(), bias, 1, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        weight, padding = ctx.given
        return weight.input_gradient(gradients[0], padding), None, None, None


class Weight:
    """A weight (O, I, k, k) that nobody writes, and its other forms, each made when first needed."""

    def __init__(self, plain: torch.Tensor) -> None:
        self.plain = plain
        self.uses = {False: 0, True: 0}
        """Forward passes without a gradient, and with one."""
        self.phases: dict[int, torch.Tensor] = {}
        """What :func:`vizkit_torch.strided.phases` makes of it, by the stride."""
        self._ahead: torch.Tensor | None = None
        self._back: torch.Tensor | None = None

    @property
    def one(self) -> bool:
        """Whether it is 1x1."""
        return self.plain.shape[2] == self.plain.shape[3] == 1

    def ahead(self) -> torch.Tensor:
        """What ``conv2d`` takes as its weight."""
        if not self.one:
            return self.plain
        if self._ahead is None:
            self._ahead = _transposed(self.plain.transpose(0, 1), (0, 0))
        return self._ahead

    def input_gradient(self, gradient: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
        """Of that convolution, given the gradient at its result."""
        if self._back is None:
            self._back = _transposed(self.plain, padding)
        if self.one:
            return torch.conv2d(gradient, self._back)
        return torch.convolution(gradient, self._back, None, (1, 1), padding, (1, 1), True, (0, 0), 1)


class Packs:
    """Weights with their forms, by the plain tensor."""

    def __init__(self) -> None:
        self._held: dict[int, Weight] = {}

    def hold(self, plain: torch.Tensor) -> None:
        """From now on this weight may be kept in other forms."""
        self._held[id(plain)] = Weight(plain)

    def kernel(self, weight: torch.Tensor, stride: int) -> Callable[[], torch.Tensor]:
        """Gives :func:`vizkit_torch.strided.phases` of this weight, made once if nobody writes it."""

        def made() -> torch.Tensor:
            held = self._held.get(id(weight))
            if held is None:
                return phases(weight, stride)
            if stride not in held.phases:
                held.phases[stride] = phases(weight, stride)
            return held.phases[stride]

        return made

    def convolution(self, x: torch.Tensor, args: Sequence[Any]) -> torch.Tensor | None:
        """``conv2d`` of ``x``, in blocks, with the ``args`` that it was called with; None where plain weights are to be
        taken."""
        held = self._held.get(id(args[1]))
        if held is None or len(x) > FEW or not x.is_mkldnn or not fits(args):
            return None
        gradient = x.requires_grad and torch.is_grad_enabled()
        held.uses[gradient] += 1
        if held.uses[gradient] <= LATER or not able():
            return None
        if gradient:
            made: torch.Tensor = Packed.apply(x, args[2], held, args[4])
            return made
        return torch.conv2d(x, held.ahead(), *args[2:])


def fits(args: Sequence[Any]) -> bool:
    """Whether these are arguments of a ``conv2d`` whose weight has such forms."""
    if len(args) != 7:
        return False
    _, weight, bias, stride, padding, dilation, groups = args
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        return False
    if (stride, dilation, groups) != ((1, 1), (1, 1), 1) or not isinstance(padding, tuple):
        return False
    out, into, height, width = weight.shape
    if min(out, into) < BLOCK:
        return False
    return padding == (0, 0) if height == width == 1 else out == into and padding < (height, width)


def _transposed(weight: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
    """The weight (I, O, k, k) of a transposed convolution, as oneDNN keeps it."""
    with torch.no_grad():
        made: torch.Tensor = torch.ops.mkldnn._reorder_convolution_transpose_weight(
            weight.contiguous(), padding, (0, 0), (1, 1), (1, 1), 1, None
        )
    return made


@cache
def able() -> bool:
    """Whether this PyTorch, on this processor, takes such weights, and gives the same digits with them."""
    numbers = torch.Generator().manual_seed(0)
    for out, into, size in ((48, 32, 1), (32, 32, 3)):
        weight = torch.randn(out, into, size, size, generator=numbers)
        padding = (size // 2,) * 2
        x = torch.randn(1, into, 8, 8, generator=numbers).to_mkldnn().requires_grad_(True)
        with torch.enable_grad():
            try:
                plain = torch.conv2d(x, weight, None, 1, padding)
                packed = Packed.apply(x, None, Weight(weight), padding)
                found = [torch.autograd.grad(y, x, torch.ones(y.shape).to_mkldnn())[0] for y in (plain, packed)]
            except (AttributeError, RuntimeError, TypeError):
                return False
        if not all(torch.equal(a.to_dense(), b.to_dense()) for a, b in ((plain, packed), found)):
            return False
    return True
