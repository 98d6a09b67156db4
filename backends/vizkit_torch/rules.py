"""Backward rules at the operations of a network, for the length of one pass, without touching the network.

A ``TorchFunctionMode`` sees every call, from a module or a function. An operation that follows a rule is computed once,
with what is needed to differentiate it kept, and stands in the network's own computation as one step whose derivative
is the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import BackwardCFunction
from torch.nn.modules._functions import BackwardHookFunction
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from vizkit.contract.backend import Evaluated, Mode, Ops, Rule
from vizkit.contract.errors import SettingError
from vizkit.contract.graph import ACTIVATIONS, AFFINE, nonnegative
from vizkit.contract.rules import pulls

from .graph import tensors
from .operations import ASKING, kind_of, rectifier
from .ops import TorchOps

Place = tuple[Any, ...]
"""Where an argument stands: its position or name, and its position in the list that it is, if it is one."""


class Call:
    """A call of a function, to be made again with other tensors in some places."""

    def __init__(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        self.func = func
        self.args = args
        self.kwargs = kwargs

    def places(self) -> Iterator[tuple[Place, torch.Tensor]]:
        """Every tensor among the arguments."""
        for key, value in (*enumerate(self.args), *self.kwargs.items()):
            if isinstance(value, torch.Tensor):
                yield (key,), value
            elif isinstance(value, tuple | list):
                yield from (((key, i), one) for i, one in enumerate(value) if isinstance(one, torch.Tensor))

    def put(self, instead: dict[Place, torch.Tensor]) -> Call:
        """The call with these tensors in their places."""
        args, kwargs = list(self.args), dict(self.kwargs)
        for (key, *inner), tensor in instead.items():
            held: Any = args if isinstance(key, int) else kwargs
            if inner:
                held[key] = [*held[key][: inner[0]], tensor, *held[key][inner[0] + 1 :]]
            else:
                held[key] = tensor
        return Call(self.func, args, kwargs)

    def __call__(self, instead: dict[Place, torch.Tensor]) -> Any:
        call = self.put(instead)
        return call.func(*call.args, **call.kwargs)

    def parameters(self, kind: str, data: Sequence[Place]) -> list[Place]:
        """Where the weight and the bias stand; of a product, the constant matrix."""
        if kind not in AFFINE:
            return []
        found = dict(self.places())
        if len(found) == 2 and (0,) not in data:  # a constant matrix before the picture's
            return [(0,)]
        names = ((1, "weight"), (2, "bias"))
        return [(key,) for pair in names for key in (*pair, "other", "mat2") if (key,) in found and (key,) not in data]


class TorchEvaluated(Evaluated):
    """See :class:`vizkit.contract.rules.Evaluated`."""

    def __init__(
        self,
        ops: Ops,
        kind: str,
        call: Call,
        inputs: dict[Place, torch.Tensor],
        own: dict[Place, torch.Tensor],
        kept: bool = True,
    ) -> None:
        self.ops = ops
        self.kind = kind
        self._call = call
        self._inputs = {place: one.detach().requires_grad_(kept) for place, one in inputs.items()}
        self._own = own
        self._around = cast_as_now(next(iter(inputs.values())).device.type)
        with torch.set_grad_enabled(kept):
            given = {**own, **self._inputs}
            place = target(call)
            if place is not None:  # It writes a copy, now and whenever it is made again.
                given[place] = given.get(place, dict(call.places())[place]).clone()
            result = call(given)
        self.result = result
        self._output: torch.Tensor = next(tensors(result))
        self.inputs = tuple(one.detach() for one in inputs.values())
        self.parameters = tuple(own.values())
        self.output = self._output.detach()

    def pull(self, gradient: torch.Tensor, parameters: Sequence[torch.Tensor] = ()) -> tuple[torch.Tensor, ...]:
        if parameters:
            found = self._linear(gradient, parameters[0])
            return self.again((), parameters).pull(gradient) if found is None else (found,)
        return torch.autograd.grad(self._output, tuple(self._inputs.values()), gradient)

    def _linear(self, gradient: torch.Tensor, weight: torch.Tensor) -> torch.Tensor | None:
        """The derivative of a convolution or dense layer with another weight, for which nothing is computed forward;
        None where it was called in another way than PyTorch's own layers call it."""
        (leaf,), node = self._inputs.values(), self._output.grad_fn
        if not gradient.dtype == weight.dtype == leaf.dtype or node is None:
            return None
        if self._call.func is F.linear:
            return gradient @ weight
        read = node.next_functions[0][0]
        if node.name() != "ConvolutionBackward0" or getattr(read, "variable", None) is not leaf:
            return None
        names = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
        settings = [getattr(node, f"_saved_{name}") for name in names]
        mask = (True, False, False)
        found: torch.Tensor
        found, _, _ = torch.ops.aten.convolution_backward(gradient, leaf, weight, None, *settings, mask)
        return found

    def again(self, inputs: Sequence[torch.Tensor] = (), parameters: Sequence[torch.Tensor] = ()) -> TorchEvaluated:
        given = dict(zip(self._inputs, inputs or self.inputs, strict=True))
        own = dict(zip(self._own, (*parameters, *self.parameters[len(parameters) :]), strict=True))
        with self._around():
            return TorchEvaluated(self.ops, self.kind, self._call, given, own)


def cast_as_now(device: str) -> Callable[[], AbstractContextManager[Any]]:
    """Makes blocks in which autocast does what it does now: a network may ask for it, and is left by then."""
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return nullcontext
    return partial(torch.autocast, device, torch.get_autocast_dtype(device), cache_enabled=False)


def target(call: Call) -> Place | None:
    """Where the tensor stands that a call writes, its first argument; None where it writes none."""
    name = str(getattr(call.func, "__name__", ""))
    last = len(call.args) > 1 and call.args[-1] is True and kind_of(call.func) in INPLACE
    inplace = call.kwargs.get("inplace", last)
    if (name.endswith("_") and not name.endswith("__")) or name.startswith(("__i", "__setitem")) or inplace is True:
        return next((place for place, _ in call.places() if place in ((0,), ("input",))), None)
    return None


class _Ruled(torch.autograd.Function):
    """What was computed; backward the rule."""

    @staticmethod
    def forward(ctx: Any, done: TorchEvaluated, rule: Rule, *_inputs: torch.Tensor) -> torch.Tensor:
        ctx.done, ctx.rule = done, rule
        found: torch.Tensor = done.output.detach()  # which is no view
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        done, ctx.done = ctx.done, None
        with torch.no_grad():
            return None, None, *ctx.rule(done, gradients[0])


INPLACE = (*ACTIVATIONS, "threshold")
"""Kinds of functions whose last argument may say that they write what they read."""
BEHIND = {"ReluBackward0": "relu", "ConvolutionBackward0": "conv", "AddmmBackward0": "linear"}
"""Kinds of operations by the steps of autograd that stand for them where they follow no rule."""
SHOWN = tuple(getattr(one, "_backward_cls") for one in (_Ruled, BackwardHookFunction))  # noqa: B009
"""Steps of autograd that hide none of a network's operations."""


class Written:
    """What the network has written in place, since what a rule reads stays as it was: there a copy is written, and
    stands, from then on, for the tensor that the network still holds, and for its parts and wholes, which lie in the
    same memory."""

    def __init__(self) -> None:
        self._now: Any = WeakTensorKeyDictionary()
        """By tensor that is no view of another the copy that stands for it."""
        self._first: Any = WeakTensorKeyDictionary()
        """By copy the tensor for which it stands."""
        self._parts: Any = WeakTensorKeyDictionary()
        """By view what was written there, and the copy of the whole of which that is true."""
        self._kept: Any = WeakTensorKeyDictionary()
        """Tensors, none of them views, whose memory may not be written."""
        self.ruled: set[str] = set()
        """Kinds of operations that have followed a rule."""

    def __len__(self) -> int:
        return len(self._now)

    def keep(self, *given: torch.Tensor) -> None:
        """From now on their memory is not written."""
        for one in given:
            self._kept[_whole(one)] = True

    def kept(self, one: torch.Tensor) -> bool:
        return _whole(one) in self._kept

    def now(self, one: torch.Tensor) -> torch.Tensor:
        """What stands for a tensor."""
        whole = _whole(one)
        found: torch.Tensor | None = self._now.get(self._first.get(whole, whole))
        if found is None or found is whole:
            return one
        if whole is one:
            return found
        part, of = self._parts.get(one, (None, None))
        return part if of is found else _part(found, one)

    def write(self, one: torch.Tensor, value: torch.Tensor) -> None:
        """``value`` stands for a tensor from now on."""
        whole = _whole(one)
        first = self._first.get(whole, whole)
        if whole is not one:
            copied = self.now(whole).clone()
            _part(copied, one).copy_(value)
            self.keep(copied)
            self._parts[one] = value, copied
            value = copied
        self._now[first] = value
        self._first[value] = first


def _whole(one: torch.Tensor) -> torch.Tensor:
    """The tensor of which this one is a view, or itself."""
    return one if one._base is None else one._base


def _part(copied: torch.Tensor, one: torch.Tensor) -> torch.Tensor:
    """What a view is of its whole, of a copy of that."""
    whole = _whole(one)
    if copied.stride() != whole.stride() or copied.dtype != one.dtype:
        raise SettingError(
            "No rule can be followed in this network: it writes in place to a tensor that lies otherwise in memory "
            "than a view of it. Write that step without writing in place."
        )
    offset = copied.storage_offset() + one.storage_offset() - whole.storage_offset()
    return copied.as_strided(one.size(), one.stride(), offset)


class Follow(TorchFunctionMode):
    """Sends the operations that have one to their rule; see :class:`Written` for those that write in place."""

    def __init__(self, mode: Mode, ops: TorchOps) -> None:
        super().__init__()
        self.mode = mode
        self.ops = ops
        self.affine = 0
        self.written = Written()
        self.nonnegative: Any = WeakTensorKeyDictionary()
        """Tensors that have no negative values, each with True."""
        self.made: Any = WeakTensorKeyDictionary()
        """By tensor the operation that follows a rule and gave it."""
        self.beside = iter(mode.beside or ())
        if mode.noted is not None:
            mode.noted.clear()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = Call(func, args, kwargs or {})
        held = places = dict(call.places())
        if len(self.written):
            places = {place: self.written.now(one) for place, one in held.items()}
            call = call.put(places)
        data = {place: one for place, one in places.items() if one.requires_grad}
        kind = rectifier(func, args, kwargs or {}) or kind_of(func)
        if not data or getattr(func, "__name__", "") in ASKING:
            return call({})
        sources = [one in self.nonnegative for one in places.values()]
        found = self._computed(call, "linear" if kind == "matmul" and len(data) == 1 else kind, places, data)
        place = target(call)
        if place is not None:
            if found is places[place] or found is None:  # It was written itself, and with it whatever lies there.
                self.nonnegative.clear()
                return found
            self.written.write(held[place], found)
        if nonnegative(kind, sources):
            for one in tensors(found):
                self.nonnegative[one] = True
        return found if place is None else held[place]

    def _computed(
        self, call: Call, kind: str, places: dict[Place, torch.Tensor], data: dict[Place, torch.Tensor]
    ) -> Any:
        """What a call gives that reads ``data``, which depends on the picture, by its rule if there is one."""
        assert self.mode.rules is not None
        rule = self.mode.rules.rule(kind, len(data), self.affine)
        self.affine += kind in AFFINE
        if rule is None:
            place = target(call)
            if place is None or not self.written.kept(places[place]):
                return call({})
            copied = places[place].clone()
            call({place: copied})
            return copied
        self.written.ruled.add(kind)
        own = {place: places[place] for place in call.parameters(kind, list(data))}
        done = TorchEvaluated(self.ops, kind, call, data, own, kept=pulls(rule))
        done.nonnegative = all(one in self.nonnegative for one in data.values())
        done.source = self.made.get(next(iter(data.values())))
        done.beside = next(self.beside, None)
        if self.mode.noted is not None:
            self.mode.noted.append(done)
        if done.output is not done.result and isinstance(done.result, tuple) and len(data) > 1:
            raise SettingError(f"No rule can be followed at {kind}, which has several results.")
        found = _Ruled.apply(done, rule, *data.values())
        self.written.keep(found, *data.values())
        self.made[found] = done
        return found if isinstance(done.result, torch.Tensor) else (found, *done.result[1:])


@contextmanager
def followed(mode: Mode, ops: TorchOps) -> Iterator[Written]:
    """Within the block, operations follow the rules of a mode; where they are noted, too, nobody has asked for a
    gradient, by which they are known. Gives what is written meanwhile."""
    with torch.enable_grad() if mode.noted is not None else nullcontext(), Follow(mode, ops) as follow:
        yield follow.written


def check_shown(x: torch.Tensor, results: Iterable[torch.Tensor], name: str, ruled: Collection[str]) -> None:
    """SettingError where ``results`` depend on ``x`` by a function of somebody's own, into which no rule can see, or by
    operations of the kinds that are ``ruled`` which were not shown: in a function of TorchScript's, under
    ``torch.vmap``, or inside of a recurrent layer."""
    waiting = [one.grad_fn for one in results]
    seen = {x.grad_fn}
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, BackwardCFunction) and not isinstance(node, SHOWN):
            raise SettingError(
                f"{name} calls an autograd.Function of its own, {type(node).__name__.removesuffix('Backward')}: no "
                "rule can see what it computes. Call PyTorch's operations in its place, or take vizkit.saliency."
            )
        if BEHIND.get(node.name()) in ruled or "torch::jit" in node.name():
            raise SettingError(
                f"{name} computes a part where no rule can see it ({node.name().rpartition('::')[2]}): a function of "
                "TorchScript's, torch.vmap, or a recurrent layer with ReLUs. Call PyTorch's operations one by one in "
                "its place, or take vizkit.saliency."
            )
        waiting += [one for one, _ in node.next_functions]
