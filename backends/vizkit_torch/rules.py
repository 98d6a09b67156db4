"""Backward rules at the operations of a network, for the length of one pass, without touching the network.

A ``TorchFunctionMode`` sees every call, from a module or a function. An operation that follows a rule is computed once,
with what is needed to differentiate it kept, and stands in the network's own computation as one step whose derivative
is the rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from vizkit.contract.backend import Evaluated, Ops, Rule, Rules
from vizkit.contract.errors import SettingError
from vizkit.contract.graph import ACTIVATIONS, AFFINE
from vizkit.contract.rules import pulls

from .graph import tensors
from .operations import ASKING, RELUS, kind_of
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

    def __call__(self, instead: dict[Place, torch.Tensor]) -> Any:
        args, kwargs = list(self.args), dict(self.kwargs)
        for (key, *inner), tensor in instead.items():
            held: Any = args if isinstance(key, int) else kwargs
            if inner:
                held[key] = [*held[key][: inner[0]], tensor, *held[key][inner[0] + 1 :]]
            else:
                held[key] = tensor
        return self.func(*args, **kwargs)

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
        with torch.set_grad_enabled(kept):
            # An operation that writes its input is given a copy; one that does not, the values themselves.
            given = {key: one.clone() if writes(call) else one for key, one in self._inputs.items()}
            result = call({**own, **given})
        self.result = result
        self._output: torch.Tensor = next(tensors(result))
        self.inputs = tuple(one.detach() for one in inputs.values())
        self.parameters = tuple(own.values())
        self.output = self._output.detach()

    def pull(self, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found: tuple[torch.Tensor, ...] = torch.autograd.grad(self._output, tuple(self._inputs.values()), gradient)
        return found

    def again(self, inputs: Sequence[torch.Tensor] = (), parameters: Sequence[torch.Tensor] = ()) -> TorchEvaluated:
        given = dict(zip(self._inputs, inputs or self.inputs, strict=True))
        own = dict(zip(self._own, parameters or self.parameters, strict=True))
        return TorchEvaluated(self.ops, self.kind, self._call, given, own)


def writes(call: Call) -> bool:
    """Whether a call writes its first argument."""
    name = str(getattr(call.func, "__name__", ""))
    last = len(call.args) > 1 and call.args[-1] is True and kind_of(call.func) in ACTIVATIONS
    inplace = call.kwargs.get("inplace", last)
    return (name.endswith("_") and not name.endswith("__")) or name.startswith("__i") or inplace is True


class _Ruled(torch.autograd.Function):
    """What was computed; backward the rule."""

    @staticmethod
    def forward(ctx: Any, done: TorchEvaluated, rule: Rule, *_inputs: torch.Tensor) -> torch.Tensor:
        ctx.done, ctx.rule = done, rule
        found: torch.Tensor = done.output.view_as(done.output)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        done, ctx.done = ctx.done, None
        with torch.no_grad():
            return None, None, *ctx.rule(done, gradients[0])


class Follow(TorchFunctionMode):
    """Sends the operations that have one to their rule. What an operation writes in place stands, from then on, for
    what it has written, so that what the rule reads stays as it was."""

    def __init__(self, rules: Rules, ops: TorchOps) -> None:
        super().__init__()
        self.rules = rules
        self.ops = ops
        self.affine = 0
        self.written: Any = WeakTensorKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = Call(func, args, kwargs or {})
        places = dict(call.places())
        if len(self.written):
            places = {place: self.written.get(one, one) for place, one in places.items()}
            call = Call(func, *_replaced(call, places))
        data = {place: one for place, one in places.items() if one.requires_grad}
        name = str(getattr(func, "__name__", ""))
        kind = "relu" if func in RELUS else kind_of(func)
        if not data or name in ASKING:
            self.affine += kind in AFFINE  # ahead of where differentiation begins, yet one of the network's
            return call({})
        kind = "linear" if kind == "matmul" and len(data) == 1 else kind
        rule = self.rules.rule(kind, len(data), self.affine)
        self.affine += kind in AFFINE
        if rule is None:
            return call({})
        own = {place: places[place] for place in call.parameters(kind, list(data))}
        done = TorchEvaluated(self.ops, kind, call, data, own, kept=pulls(rule))
        if done.output is not done.result and isinstance(done.result, tuple) and len(data) > 1:
            raise SettingError(f"No rule can be followed at {name}, which has several results.")
        found = _Ruled.apply(done, rule, *data.values())
        if writes(call) and args and isinstance(args[0], torch.Tensor):
            self.written[args[0]] = found
        return found if isinstance(done.result, torch.Tensor) else (found, *done.result[1:])


def _replaced(call: Call, places: dict[Place, torch.Tensor]) -> tuple[Any, dict[str, Any]]:
    """The arguments with these tensors in their places."""
    other = Call(lambda *args, **kwargs: (args, kwargs), call.args, call.kwargs)
    found: tuple[Any, dict[str, Any]] = other(places)
    return found


@contextmanager
def followed(rules: Rules, ops: TorchOps) -> Iterator[None]:
    """Within the block, operations follow the rules."""
    with Follow(rules, ops):
        yield
