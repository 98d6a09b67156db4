"""Attention that a network computes by a function: no module gives its probabilities, a fused kernel never has them.

A ``TorchFunctionMode`` sees the calls. For a pass that wants their probabilities it computes them in the open,
``softmax(Q K^T / sqrt(d) + mask)``, as PyTorch documents its function. Nothing is replaced anywhere: the mode ends
with the pass, whatever ends that, and other passes never meet it. Nor does a transformer's fast path, which PyTorch
does not take under such a mode.
"""

from __future__ import annotations

import math
import types
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from vizkit.contract.backend import Layer, Ops
from vizkit.contract.probabilities import is_attention, may_be, noted

from .modules import module_of
from .still import ATTENTION

MARK = ":attention"
KIND = "Attention"
"""The kind of such a layer."""
FUSED = {F.scaled_dot_product_attention, torch.ops.aten.scaled_dot_product_attention.default}
SOFTMAX = {F.softmax, torch.softmax, torch.Tensor.softmax, torch.ops.aten.softmax.int}
"""Functions ``(input, dim)``: attention that a network spells out ends in one of them."""
At = Callable[[str, torch.Tensor], torch.Tensor]
"""Is given a name and probabilities (N, ..., T, S), and gives those to go on with."""


class Calls(TorchFunctionMode):
    """Hands every attention that is ``wanted`` to ``at``; None: all. ``stack`` names the modules that run just now."""

    def __init__(self, at: At, wanted: Collection[str] | None = None) -> None:
        super().__init__()
        self.at = at
        self.wanted = wanted
        self.stack = [""]
        self._count: Counter[str] = Counter()
        self._heads: int | None = None

    def enter(self, name: str) -> None:
        """A module of this name starts."""
        self.stack.append(name)

    def leave(self, name: str) -> None:
        """It ends; modules inside it that an error has ended, and the network caught, are gone with it."""
        while name in self.stack and self.stack.pop() != name:
            pass

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            return self._multi_head(args, kwargs)
        if func in FUSED:
            given = dict(zip(ATTENTION, args, strict=False)) | kwargs
            if given["query"].ndim >= 4:
                name = self._next()
                return self._attend(name, **given) if self._wants(name) else func(*args, **kwargs)
        result = func(*args, **kwargs)
        if func in SOFTMAX and (args[1] if len(args) > 1 else kwargs.get("dim")) in (-1, result.ndim - 1):
            shape = result.shape
            if self._heads is not None and result.ndim == 3:
                shape = torch.Size((-1, self._heads, *shape[1:]))
            if len(shape) >= 4 and min(shape[-2:]) > 1:
                name = self._next()
                return self.at(name, result.view(shape)).view(result.shape) if self._wants(name) else result
        return result

    def _next(self) -> str:
        """The name of the attention that is computed next."""
        owner = self.stack[-1]
        self._count[owner] += 1
        return owner + MARK + (str(self._count[owner]) if self._count[owner] > 1 else "")

    def _wants(self, name: str) -> bool:
        return self.wanted is None or name in self.wanted

    def _multi_head(self, args: Any, kwargs: dict[str, Any]) -> Any:
        """``nn.MultiheadAttention``, so that the calls inside it are seen: a mode is off while it handles a call, and
        this function hands itself to any mode there is."""
        known = F.multi_head_attention_forward
        seen = {**known.__globals__, "has_torch_function": lambda *_: False}
        inside = types.FunctionType(known.__code__, seen, known.__name__, known.__defaults__, known.__closure__)
        before, self._heads = self._heads, kwargs["num_heads"] if "num_heads" in kwargs else args[4]
        try:
            with self:
                return inside(*args, **kwargs)
        finally:
            self._heads = before

    def _attend(
        self,
        name: str,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        """``F.scaled_dot_product_attention`` in the open, without dropout; a row that is masked altogether is zero."""
        if enable_gqa:
            key, value = (one.repeat_interleave(query.shape[-3] // one.shape[-3], -3) for one in (key, value))
        scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -math.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        found = scores.softmax(-1)
        if attn_mask is not None:
            found = found.masked_fill((scores == -math.inf).all(-1, keepdim=True), 0.0)
        return self.at(name, found) @ value


@contextmanager
def _seen(calls: Calls, modules: Mapping[nn.Module, str]) -> Iterator[None]:
    """Within the block ``calls`` sees what runs, and in which of these modules."""
    with ExitStack() as stack:
        for module, name in modules.items():
            stack.callback(module.register_forward_pre_hook(lambda _module, _inputs, n=name: calls.enter(n)).remove)
            stack.callback(module.register_forward_hook(lambda _module, _inputs, _out, n=name: calls.leave(n)).remove)
        stack.enter_context(calls)
        yield


@contextmanager
def observed(network: nn.Module, names: Iterable[str], at: At, wanted: Collection[str]) -> Iterator[None]:
    """Within the block ``at`` is handed the attention that is ``wanted``. ``names``: all that :func:`probe` found."""
    owners = dict.fromkeys(name.rpartition(MARK)[0] for name in names if MARK in name)
    with _seen(Calls(at, wanted), {module_of(network, name): name for name in owners if name}):
        yield


def probe(modules: Mapping[nn.Module, str], ops: Ops, run: Callable[[], Any]) -> dict[str, Layer]:
    """Every attention of a pass that ``run`` makes: what a function computes, by the innermost of ``modules``, which
    run once, and what one of these gives itself."""
    found: list[tuple[Layer, torch.Tensor]] = []

    def at(name: str, value: torch.Tensor) -> torch.Tensor:
        found.append((Layer(name, KIND, tuple(value.shape)), value.clone()))
        return value

    def see(module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and may_be(tuple(output.shape)) and is_attention(ops, output):
            layer = Layer(modules[module], type(module).__name__, tuple(output.shape))
            found.append((layer, output.clone()))

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(see).remove)
        stack.enter_context(_seen(Calls(at), modules))
        run()
    return noted(ops, found)
