"""A PyTorch network's graph: every function that it calls on tensors during one pass, with its settings.

A ``TorchFunctionMode`` sees the calls themselves, so that any Python in a network's forward is no obstacle; symbolic
tracing (torch.fx) refuses much of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from vizkit.contract.backend import OUTPUT
from vizkit.contract.errors import SettingError
from vizkit.contract.graph import Graph, Operation, build

from .operations import QUERIED, describe, values_read


class _Recorder(TorchFunctionMode):
    """Notes each call whose result depends on the network's input. ``stack`` are the modules that run just now."""

    def __init__(self, first: torch.Tensor) -> None:
        super().__init__()
        self.operations: list[Operation] = [Operation("input", (), tuple(first.shape))]
        self.stacks: list[tuple[str, ...]] = [()]
        self.stack: list[str] = []
        self.made: Any = WeakTensorKeyDictionary({first: 0})
        """The operation that computed a tensor; parameters and constants have none."""
        self.weights: Any = WeakTensorKeyDictionary()
        """The parameters that a tensor was computed from, by their ids."""
        self.counted: dict[int, torch.Tensor] = {}
        self.charged: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = list(tensors((args, kwargs)))[: values_read(func)]
        sources = [self.made.get(tensor) for tensor in given]
        shapes = [tuple(tensor.shape) for tensor in given if isinstance(tensor, torch.Tensor)]
        result = func(*args, **kwargs)
        results = list(tensors(result))
        if results:
            inputs = tuple(at for at in sources if at is not None)
            owned = frozenset[int]().union(*(self.owned(tensor) for tensor in given))
            if inputs:
                kind, settings = describe(func, args, kwargs, shapes, tuple(results[0].shape))
                count = sum(self.counted[key].numel() for key in owned - self.charged)
                self.charged |= owned
                if kind in QUERIED:
                    settings["fixed"] = sources[0] is None
                self.operations.append(Operation(kind, inputs, tuple(results[0].shape), settings, count))
                self.stacks.append(tuple(self.stack))
                for tensor in results:
                    self.made[tensor] = len(self.operations) - 1
            else:  # arithmetic among parameters alone: whoever uses the result uses them
                for tensor in results:
                    self.weights[tensor] = owned
        return result

    def owned(self, tensor: torch.Tensor) -> frozenset[int]:
        if isinstance(tensor, nn.Parameter):
            self.counted[id(tensor)] = tensor
            return frozenset((id(tensor),))
        found: frozenset[int] = self.weights.get(tensor, frozenset())
        return found


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor inside tuples, lists and dicts, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from tensors(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from tensors(one)


def trace(
    network: nn.Module,
    names: Mapping[nn.Module, str],
    blank: torch.Tensor,
    run: Callable[[torch.Tensor], torch.Tensor],
) -> Graph:
    """The graph of one pass over ``blank``; ``names`` are its layers' by module, ``run`` calls the network and picks
    its result.

    Raises SettingError when no operation leads from the input to the result.
    """
    recorder = _Recorder(blank)
    runs: Counter[str] = Counter()
    layers: dict[str, int] = {}

    def enter(module: nn.Module, _inputs: object) -> None:
        recorder.stack.append(names[module])
        runs[names[module]] += 1

    def leave(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            at = recorder.made.get(output)
            if at is not None:
                layers[names[module]] = at
        recorder.stack.pop()

    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for module in names:
            if isinstance(module, torch.jit.ScriptModule):
                continue
            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        with recorder:
            output = run(blank)
    end = recorder.made.get(output)
    if end is None:
        raise SettingError(
            f"{type(network).__name__} cannot be traced: no PyTorch function leads from its input to its result. "
            "Scripted and compiled modules show nothing of themselves; give the module they were made from."
        )
    once = {name for name, count in runs.items() if count == 1}
    operations = [
        # Its scope is the innermost of the modules that ran just then which runs only once.
        replace(one, scope=next((name for name in reversed(modules) if name in once), ""))
        for one, modules in zip(recorder.operations, recorder.stacks, strict=True)
    ]
    return build(operations, {name: at for name, at in layers.items() if name in once} | {OUTPUT: end})
