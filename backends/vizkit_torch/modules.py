"""A network's modules and what they hold, looked at before every pass.

What its user has changed since the pass before must be seen. One module after the other in Python, that takes a
twentieth of a small network's pass; here each question is put to all of them at once.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
VALUES = operator.methodcaller("values")


def modules_of(network: nn.Module) -> list[nn.Module]:
    """Every module of a network once; ``network.modules()`` takes ten times as long."""
    found = [network]
    seen = {network}
    for module in found:  # which grows
        for child in module._modules.values():
            if child is not None and child not in seen:
                seen.add(child)
                found.append(child)
    return found


def watched(module: nn.Module) -> bool:
    """Whether somebody's hook is on it, or another function in place of its own."""
    return "forward" in vars(module) or any(getattr(module, key) for key in HOOKS)


class Attributes:
    """Objects that are compared by what they are, not by their values."""

    def __init__(self, held: list[Any]) -> None:
        self._held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attributes) and same(self._held, other._held)

    __hash__ = None  # type: ignore[assignment]


class Modules:
    """All modules of a network. ``known`` are those that :meth:`every` found last, of which all else is told."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._held: tuple[bool, bool] | None = None
        """What :meth:`ready` and :meth:`untouched` said when :meth:`held` began."""
        self._walk()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within the block all are taken to be as at its start; :meth:`every` comes before it."""
        before = self._held
        if before is None:
            self._held = self.ready(), self.untouched()
        try:
            yield
        finally:
            self._held = before

    def _walk(self) -> None:
        self.known = modules_of(self._network)
        self._children = self._values("_modules")
        self._hooks = [getattr(module, key) for module in self.known for key in HOOKS]

    def _values(self, key: str) -> list[Any]:
        return list(chain.from_iterable(map(VALUES, map(operator.attrgetter(key), self.known))))

    def every(self) -> list[nn.Module]:
        """Each module once, as they are now; the same list until one was put in, taken out or replaced."""
        if self._held is None and not same(self._values("_modules"), self._children):
            self._walk()
        return self.known

    def attributes(self) -> Attributes:
        """All that the modules hold, settings included: a recording stays right as long as these are the same objects.
        A module that counts its calls, say, has others each time."""
        return Attributes(list(chain.from_iterable(map(VALUES, map(vars, self.known)))))

    def tensors(self) -> list[torch.Tensor]:
        """Parameters and buffers."""
        return [one for key in ("_parameters", "_buffers") for one in self._values(key) if one is not None]

    def ready(self) -> bool:
        """Whether none is in training or compiled, and no parameter wants a gradient."""
        if self._held is not None:
            return self._held[0]
        if any(
            module.training or module._compiled_call_impl is not None or "_orig_mod" in module._modules
            for module in self.known
        ):
            return False
        return not any(one is not None and one.requires_grad for one in self._values("_parameters"))

    def untouched(self) -> bool:
        """Whether none is :func:`watched`."""
        if self._held is not None:
            return self._held[1]
        return not any(self._hooks) and not any("forward" in vars(module) for module in self.known)

    def scripted(self) -> bool:
        """Whether a part of the network is TorchScript, which calls nothing that could be seen."""
        return any(isinstance(module, torch.jit.ScriptModule) for module in self.known)


def same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether these are the very same objects."""
    return len(some) == len(others) and all(map(operator.is_, some, others))
