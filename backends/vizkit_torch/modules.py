"""A network's modules and what they hold, looked at before every pass: what its user has changed must be seen."""

from __future__ import annotations

import copy
import operator
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from vizkit.contract.backend import OUTPUT
from vizkit.zoo import weights
from vizkit.zoo.weights import Parameters

ALIAS = f"{OUTPUT}:module"
"""What a module is called whose name means the network's result, where it gives another."""
PLAIN = frozenset(vars(nn.Module()))
"""What every module holds."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def floats(network: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and stored statistics by name. Whole numbers, such as the places of a window's pixels to each other,
    are part of the network, and so is whatever else a module keeps beside them."""
    state = network.state_dict(keep_vars=True).items()
    return {name: value for name, value in state if isinstance(value, torch.Tensor) and value.is_floating_point()}


def names(network: nn.Module) -> dict[nn.Module, str]:
    """Every module but the network itself, by the first name that it has."""
    return {module: name for name, module in reversed(list(network.named_modules())) if name}


def module_of(network: nn.Module, name: str) -> nn.Module:
    """The module of a layer."""
    return network.get_submodule(OUTPUT if name == ALIAS else name)


def copied(network: nn.Module) -> nn.Module:
    """A copy of its own memory; PyTorch copies nothing that was computed from parameters, such as a weight with
    ``torch.nn.utils.weight_norm``."""
    held = [one for module in network.modules() for kind in (vars(module), module._buffers) for one in kind.values()]
    made = [one for one in held if isinstance(one, torch.Tensor) and not one.is_leaf]
    return copy.deepcopy(network, {id(one): one.detach().clone() for one in made})


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters and stored statistics, by name."""
    return {name: tuple(value.shape) for name, value in floats(network).items()}


def obtain(network: nn.Module, name: str, wanted: str, stores: Mapping[str, Callable[[str], Parameters]]) -> Parameters:
    """See :func:`vizkit.zoo.weights.obtain`."""
    own = shapes(network)
    return weights.obtain(name, wanted, own, stores, whole=network.state_dict().keys() - own.keys())[0]


def watched(module: nn.Module) -> bool:
    """Whether somebody's hook is on it, or another function in place of its own."""
    return "forward" in vars(module) or any(getattr(module, key) for key in HOOKS)


def watched_all() -> bool:
    """Whether somebody's hook is on all modules that there are."""
    return bool(nn.modules.module._has_any_global_hook())  # type: ignore[no-untyped-call]


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
        self._held: bool | None = None
        """What :meth:`untouched` said when :meth:`held` began."""
        self.known = list(network.modules())
        self.wrote = False
        """Whether a pass was seen to write buffers, or to put something else into what the modules hold."""

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within the block the network writes copies of its buffers; afterwards its modules hold the buffers, tensors,
        numbers and the like that they held before, whatever of the same type it has put in their place. ``wrote`` tells
        whether it has. What a first pass sets up for those that follow stays, a flag that says so, too."""
        own = [module for module in self.known if not isinstance(module, torch.jit.ScriptModule)]
        held = [(vars(module), dict(vars(module))) for module in own]
        buffers = [(module._buffers, dict(module._buffers)) for module in own]
        copies = {id(one): one.clone() for _, found in buffers for one in found.values() if one is not None}
        given = {key: one._version for key, one in copies.items()}
        for now, before in buffers:
            now.update({name: copies[id(one)] for name, one in before.items() if one is not None})
        try:
            yield
        finally:
            for now, before in buffers:
                for name, one in before.items():
                    if one is not None:
                        self.wrote |= now.get(name) is not copies[id(one)]
                        now[name] = one
            self.wrote = self.wrote or any(one._version != given[key] for key, one in copies.items())
            # A kernel of a network's own may write without PyTorch's notice, as observers before quantisation do.
            found = (one for _, before in buffers for one in before.values() if one is not None and not one.is_meta)
            self.wrote = self.wrote or any(not alike(copies[id(one)], one) for one in found)
            for now, before in held:
                for name, one in before.items():
                    other = now.get(name)
                    if other is not one and not isinstance(one, bool) and type(other) is type(one):
                        now[name] = one
                        self.wrote = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within the block all are taken to be as at its start; :meth:`every` comes before it."""
        before = self._held
        if before is None:
            self._held = self.untouched()
        try:
            yield
        finally:
            self._held = before

    def every(self) -> None:
        """Look which modules there are now."""
        if self._held is None:
            self.known = list(self._network.modules())

    def contents(self) -> Attributes:
        """What lies in the lists and dictionaries that modules hold."""
        held = [one for module in self.known for name, one in vars(module).items() if name not in PLAIN]
        found = [one.values() if isinstance(one, dict) else one for one in held if isinstance(one, dict | list | deque)]
        return Attributes([part for one in found for part in one])

    def attributes(self) -> Attributes:
        """All that the modules hold, settings included: a recording stays right as long as these are the same objects.
        A module that counts its calls, say, has others each time."""
        return Attributes([one for module in self.known for one in vars(module).values()])

    def tensors(self) -> list[torch.Tensor]:
        """Parameters and buffers."""
        held = (kind for module in self.known for kind in (module._parameters, module._buffers))
        return [one for kind in held for one in kind.values() if one is not None]

    def untouched(self) -> bool:
        """Whether none is :func:`watched`."""
        return not (watched_all() or any(map(watched, self.known))) if self._held is None else self._held

    def scripted(self) -> bool:
        """Whether a part of the network is TorchScript, which calls nothing that could be seen."""
        return any(isinstance(module, torch.jit.ScriptModule) for module in self.known)


def alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether these have the same values, those that are no numbers included."""
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether these are the very same objects."""
    return len(some) == len(others) and all(map(operator.is_, some, others))
