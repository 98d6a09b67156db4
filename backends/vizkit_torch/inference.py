"""What a network is set to for the length of one pass, whatever its user left it in; all is as before afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from vizkit.contract.backend import Mode
from vizkit.contract.errors import SettingError

from .checkpoints import direct
from .modules import Modules
from .ops import TorchOps
from .prepare import BATCH_NORMS
from .rules import Written, followed
from .still import Still

DROPOUTS = (nn.modules.dropout._DropoutNd,)


@contextmanager
def inference(modules: Modules, mode: Mode, still: bool, ops: TorchOps, keep: bool = False) -> Iterator[Written]:
    """Inference semantics, but for what ``mode`` says, with frozen parameters and no compiled code, which calls no
    hooks; what checkpoints put off is computed at once. ``modules``: the network's; ``still``: it needs
    :class:`Still`, too; ``keep``: it writes into itself, so that each pass has to begin with what its user left.

    Gives what the network writes in place meanwhile, where that has to be asked. Raises SettingError for training
    semantics, or rules, of what PyTorch does not show.
    """
    with direct(), ExitStack() as stack:
        if keep:
            stack.enter_context(modules.kept())
        for module in modules.known:
            if module.training:
                stack.callback(setattr, module, "training", True)
                module.training = False
            if module._compiled_call_impl is not None:
                stack.callback(setattr, module, "_compiled_call_impl", module._compiled_call_impl)
                module._compiled_call_impl = None
            if "_orig_mod" in module._modules:
                stack.callback(module.__dict__.__setitem__, "forward", module.forward)
                module.__dict__["forward"] = module._orig_mod
            for parameter in module._parameters.values():
                if parameter is not None and parameter.requires_grad:
                    stack.callback(parameter.requires_grad_, True)
                    parameter.requires_grad_(False)
        if still:
            stack.enter_context(Still(training=mode.training is not None))
        if mode.rules is not None and modules.scripted():
            raise SettingError(
                "Backward rules need operations that PyTorch shows; TorchScript hides its own. Wrap the module that it "
                "was made from."
            )
        if mode.training is not None:
            _train(stack, modules, mode.training, ops.asarray)
        yield stack.enter_context(followed(mode, ops)) if mode.rules is not None else Written()


def _train(stack: ExitStack, modules: Modules, generator: np.random.Generator, upload: Callable[[Any], Any]) -> None:
    """Training-mode forward: batch statistics, without touching the stored ones, and dropout by uploaded masks."""
    if modules.scripted():
        raise SettingError("Training mode needs dropout and batch norm that PyTorch shows; TorchScript hides its own.")

    def drop(module: nn.Module, inputs: tuple[torch.Tensor, ...], _output: torch.Tensor) -> torch.Tensor:
        rate = float(getattr(module, "p", 0.0))
        if not isinstance(module, nn.Dropout):
            raise SettingError(
                f"Training mode knows dropout of single values only; this network has a {type(module).__name__}."
            )
        keep = generator.random(tuple(inputs[0].shape), dtype=np.float32) >= rate
        scale: torch.Tensor = upload(keep / (1.0 - rate))
        return inputs[0] * scale

    for module in modules.known:
        if isinstance(module, BATCH_NORMS):
            stack.callback(setattr, module, "training", module.training)
            stack.callback(setattr, module, "track_running_stats", module.track_running_stats)
            module.training, module.track_running_stats = True, False
        elif isinstance(module, DROPOUTS) and 0.0 < float(module.p) < 1.0:
            stack.callback(module.register_forward_hook(drop).remove)
