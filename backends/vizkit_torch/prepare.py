"""Lossless preparation of a network that is only read: batch norm folded into the convolution before it.

The user's network is not changed. For the length of one pass a convolution gets its folded weights, computed in
float64, and the batch norm behind it hands on what it gets. Which batch norm alone reads what a convolution returns is
seen in one pass, not guessed from the order of modules; whether it still does, in every pass.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from .graph import tensors
from .modules import Modules, watched, watched_all
from .operations import ASKING, rectifier

BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS_BEHIND = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
Norm = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True, eq=False)
class Pair:
    """A convolution, and the batch norm that alone reads its result. ``names`` are the layers that folding hides;
    ``at`` is the convolution's place in the order in which modules finish."""

    conv: Conv
    norm: Norm
    names: frozenset[str]
    at: int

    def plain(self) -> bool:
        """Whether both modules have values of their own, and neither was parametrised."""
        conv, norm = self.conv, self.norm
        if not convolves(conv) or conv._parameters.get("weight") is None:
            return False
        return type(norm) in NORMS_BEHIND and norm._buffers.get("running_var") is not None

    def untouched(self) -> bool:
        """Whether both modules are plain, and nobody's hook or function is on them."""
        return self.plain() and not (watched(self.conv) or watched(self.norm) or watched_all())

    def prepared(self) -> Folded:
        """What does the work of both, rounded once from float64."""
        conv = self.conv
        with torch.no_grad():
            scale, shift = affine(self.norm)
            weight = (conv.weight.double() * scale.reshape(-1, *(1,) * (conv.weight.dim() - 1))).to(conv.weight.dtype)
            bias = shift if conv.bias is None else shift + conv.bias.double() * scale
            return Folded(conv, weight, bias.to(weight.dtype), reproducible=weight.device.type == "cuda")


def convolves(module: nn.Module) -> bool:
    """Whether a module computes as PyTorch's own convolutions do, of which it may be an heir."""
    kind: Any = type(module)
    return any(
        issubclass(kind, one) and kind.forward is one.forward and kind._conv_forward is one._conv_forward
        for one in CONVOLUTIONS
    )


def affine(norm: nn.modules.batchnorm._BatchNorm) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift, float64, per channel, that a batch norm with stored statistics is in inference."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("This batch norm has no stored statistics.")
    scale = 1 / (variance.double() + norm.eps).sqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.double()


class Finder(TorchFunctionMode):
    """Watches one pass over the network for pairs; modules are told by :meth:`see`."""

    def __init__(self) -> None:
        super().__init__()
        self._made: Any = WeakTensorKeyDictionary()
        """The convolution that computed a tensor."""
        self._names: dict[Any, set[str]] = {}
        self._norm: dict[Any, Any] = {}
        self._place: dict[Any, int] = {}
        self._count = 0
        self._reads: Counter[int] = Counter()
        self.relu = False
        """Whether a ReLU was called."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.relu = self.relu or rectifier(func, args, kwargs) != ""
        read = [self._made.get(tensor, tensor) for tensor in tensors((args, kwargs))]
        result = func(*args, **kwargs)
        if getattr(func, "__name__", "") not in ASKING or isinstance(result, torch.Tensor):
            self._reads.update(id(one) for one in read if isinstance(one, nn.Module | nn.Parameter))
        return result

    def see(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        """A module called ``name`` has returned ``output``."""
        self._count += 1
        if not isinstance(output, torch.Tensor):
            return
        made = self._made.get(output)
        if made is not None:
            self._names[made].add(name)
        elif convolves(module):
            self._made[output] = module
            self._names[module] = {name}
            self._place[module] = self._count
        elif type(module) in NORMS_BEHIND and inputs and isinstance(inputs[0], torch.Tensor):
            source = self._made.get(inputs[0])
            if source is not None:
                self._norm[source] = module

    def pairs(self, once: Collection[nn.Module]) -> tuple[Pair, ...]:
        """Convolutions among the modules that ran once whose batch norm can fold."""
        found = []
        for conv, norm in self._norm.items():
            pair = Pair(conv, norm, frozenset(self._names[conv]), self._place[conv])
            parts = (conv, *map(conv._parameters.get, ("weight", "bias")))  # No computed one: that may change it.
            own = [one for one in parts if one is not None]
            if {conv, norm} <= set(once) and pair.untouched() and all(self._reads[id(one)] == 1 for one in own):
                found.append(pair)
        return tuple(found)


class ReadError(BaseException):
    """In this pass something else than its batch norm reads the result of a folded convolution, which knows none: on
    another path than the first pass took, from the user's hook, or returned. Not an Exception: nobody's business."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair


class Sealed(torch.Tensor):
    """What a folded convolution returns: its form, and the result for the batch norm behind it alone."""

    pair: Pair
    result: torch.Tensor

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ASKING:
            with torch._C.DisableTorchFunctionSubclass():
                result = func(*args, **(kwargs or {}))
            if not isinstance(result, torch.Tensor):
                return result
        raise ReadError(next(one.pair for one in tensors((args, kwargs)) if isinstance(one, cls)))


def sealed(pair: Pair, compute: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The result of a convolution as :class:`Sealed`."""
    result = compute(x)
    with torch._C.DisableTorchFunction():  # none of the network's operations
        form: Sealed = torch.Tensor._make_subclass(Sealed, result, result.requires_grad)
    form.pair, form.result = pair, result
    return form


def opened(pair: Pair, x: torch.Tensor) -> torch.Tensor:
    """What the batch norm hands on."""
    if not isinstance(x, Sealed) or x.pair is not pair:
        raise ReadError(pair)
    return x.result


class Preparation:
    """A network's folded convolutions, each made when a pass first needs it, and again after a parameter was written;
    ``lowered``: all parameters but those of batch norm are bfloat16."""

    def __init__(self, modules: list[nn.Module], pairs: tuple[Pair, ...], lowered: bool = False) -> None:
        self.pairs = pairs
        self.lowered = lowered
        self._modules = modules
        self._made: dict[Pair, Folded] = {}
        self._low: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        """By the id of a tensor: it, and its bfloat16 copy."""
        self._state: object = None

    @contextmanager
    def use(
        self,
        modules: Modules,
        look: Callable[[], object],
        wanted: Collection[str],
        last: float,
        fold: bool,
        ruled: bool,
        apart: Collection[Pair] = (),
    ) -> Iterator[None]:
        """Within the block, a pass which ends at the place ``last`` uses what is prepared, but where a layer in
        ``wanted`` would not be seen. ``modules``: the network's. ``look`` gives something that differs once a parameter
        was written. ``fold``: whether batch norms are folded at all; ``ruled``: the convolutions follow backward rules,
        so that they must be seen; ``apart``: pairs to leave as they are. Raises :class:`ReadError` where one more
        should be."""
        if self.pairs and modules.known != self._modules:  # the user has taken it apart since
            self.pairs = ()
        nobodys = modules.untouched()
        pairs = [
            pair
            for pair in (self.pairs if fold else ())
            if pair not in apart
            and pair.at < last
            and pair.names.isdisjoint(wanted)
            and (pair.plain() if nobodys else pair.untouched())
        ]
        if pairs or self.lowered:
            self._renew(pairs, look())
        with ExitStack() as stack:
            for pair in pairs:
                own: dict[str, Any] = pair.conv._parameters
                made = self._made[pair]
                stack.callback(own.update, weight=own["weight"], bias=own["bias"])
                own.update(weight=made.weight, bias=made.bias)
                own_kernel = made.backward is not None and not (self.lowered or ruled)
                own_forward: Any = type(pair.conv).forward
                compute = made if own_kernel else partial(own_forward, pair.conv)
                for module, forward in (
                    (pair.conv, partial(sealed, pair, compute)),
                    (pair.norm, partial(opened, pair)),
                ):
                    stack.callback(module.__dict__.pop, "forward")
                    module.__dict__["forward"] = forward
            for held, key, value in list(_floats(modules.known)) if self.lowered else ():
                stack.callback(held.__setitem__, key, value)
                held[key] = self._lower(value)
            yield

    def _renew(self, pairs: list[Pair], looked: object) -> None:
        """Fold where that is missing or old, from the first pass on: the same call gives the same digits, whatever was
        called before."""
        state = [pair.norm.eps for pair in self.pairs], looked
        if state != self._state:
            self._made, self._low, self._state = {}, {}, state
        self._made |= {pair: pair.prepared() for pair in pairs if pair not in self._made}

    def _lower(self, value: torch.Tensor) -> torch.Tensor:
        """The bfloat16 copy; of a convolution's weight in channels-last memory, for which the kernels are made."""
        held, low = self._low.get(id(value), (None, None))
        if held is not value or low is None:
            order = torch.channels_last if value.dim() == 4 else torch.contiguous_format
            low = value.detach().to(torch.bfloat16, memory_format=order)
            self._low[id(value)] = (value, low)
        return low

    def moved(self, modules: list[nn.Module]) -> Preparation:
        """The same for a copy of the network with these modules."""
        if len(modules) != len(self._modules):  # the user has taken it apart since
            return Preparation(modules, (), self.lowered)
        to: dict[nn.Module, Any] = dict(zip(self._modules, modules, strict=True))
        pairs = (replace(pair, conv=to[pair.conv], norm=to[pair.norm]) for pair in self.pairs)
        return Preparation(modules, tuple(pairs), self.lowered)


class Folded:
    """A folded convolution, as ``forward`` calls it: ``weight`` and ``bias`` do the work of both. ``backward`` is the
    kernel of the convolution that its gradient at the input is, where that is to be one.

    On a GPU the kernels that such gradients usually get add up in any order. Those of a convolution do not, and are as
    fast: what reproducible gradients cost ResNet152 in batches, a seventh of the time, is saved.
    """

    def __init__(self, conv: Conv, weight: torch.Tensor, bias: torch.Tensor, reproducible: bool) -> None:
        self.weight = weight
        self.bias = bias
        self.padding = conv.padding
        self.backward: torch.Tensor | None = None
        plain = conv.stride == conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"
        within = isinstance(conv.padding, tuple) and all(map(operator.lt, conv.padding, conv.kernel_size))
        if reproducible and plain and within:
            self.backward = weight.transpose(0, 1).flip(2, 3).contiguous()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = _Convolution.apply(x, self)
        return made


class _Convolution(torch.autograd.Function):
    """The convolution of a :class:`Folded`; only ``x`` has a gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, folded: Folded) -> torch.Tensor:
        ctx.folded = folded
        return F.conv2d(x, folded.weight, folded.bias, padding=folded.padding)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        folded = ctx.folded
        reach = zip(folded.weight.shape[2:], folded.padding, strict=True)
        padding = tuple(side - 1 - padded for side, padded in reach)
        return F.conv2d(gradients[0], folded.backward, padding=padding), None


def _floats(modules: list[nn.Module]) -> Iterator[tuple[dict[str, Any], str, torch.Tensor]]:
    """Every parameter and buffer that is multiplied with in bfloat16, with the dictionary and key where it lies. Batch
    norm takes bfloat16 with float32 parameters, and loses nothing more."""
    for module in modules:
        for held in () if isinstance(module, BATCH_NORMS) else (module._parameters, module._buffers):
            for key, one in held.items():
                if one is not None and one.is_floating_point():
                    yield held, key, one
