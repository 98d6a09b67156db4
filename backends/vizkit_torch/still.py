"""Dropout and batch norm that a network calls as functions, and in training: ``F.dropout(x)`` is, by default.

No module's mode reaches such a call. Its maps would differ from pass to pass, and its statistics with every picture.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from vizkit.contract.errors import SettingError

DROPOUTS = {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}
DROPOUTS |= {
    getattr(torch, f"{kind}dropout{end}") for kind in ("", "alpha_", "feature_", "feature_alpha_") for end in ("", "_")
}
DROPOUTS.add(torch.ops.aten.dropout.default)
"""Functions ``(input, p, training)``; PyTorch hands on what each is by default."""
NORMS = {
    F.batch_norm: ("input", "running_mean", "running_var", "weight", "bias", "training"),
    torch.batch_norm: ("input", "weight", "bias", "running_mean", "running_var", "training"),
    torch.ops.aten.batch_norm.default: ("input", "weight", "bias", "running_mean", "running_var", "training"),
}
"""Functions, and their first arguments."""
ATTENTION = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
STATISTICS = ("running_mean", "running_var")


def generators(device: str, modules: Iterable[nn.Module]) -> list[Any]:
    """Where random numbers stand, to be compared: PyTorch's, NumPy's and Python's, and those of generators that modules
    keep."""
    own = [one for module in modules for one in vars(module).values() if isinstance(one, torch.Generator)]
    states = [torch.get_rng_state(), *(() if device == "cpu" else (torch.cuda.get_rng_state(device),))]
    states += [one.get_state() for one in own]
    _, keys, place, *_ = np.random.get_state()  # noqa: NPY002 - what a network of old draws from
    return [*(one.numpy().tobytes() for one in states), np.asarray(keys).tobytes(), place, random.getstate()]


class Still(TorchFunctionMode):
    """Inference semantics of these functions; ``training``: training semantics, without writing stored statistics.
    ``needed`` tells whether any call asked for another than it got, ``together`` whether batch norm took statistics of
    the batch since it has no others.

    Raises SettingError for dropout in training, whose masks could not be drawn again.
    """

    def __init__(self, training: bool = False) -> None:
        super().__init__()
        self.training = training
        self.needed = False
        self.together = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in DROPOUTS and (args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train"))):
            self._would_drop()
            return args[0] if args else kwargs["input"]
        if func is F.scaled_dot_product_attention:
            given = dict(zip(ATTENTION, args, strict=False)) | kwargs
            if given.get("dropout_p"):
                self._would_drop()
                return func(**given | {"dropout_p": 0.0})
        if func in NORMS:
            given = dict(zip(NORMS[func], args, strict=False)) | kwargs
            stored = all(given.get(key) is not None for key in STATISTICS)
            self.together = self.together or not stored
            if given.get("training") and stored:
                self.needed = True
                changes = dict.fromkeys(STATISTICS) if self.training else {"training": False}
                rest = args[len(NORMS[func]) :]
                given |= changes
                return func(*(given.pop(key, None) for key in NORMS[func]), *rest, **given)
        return func(*args, **kwargs)

    def _would_drop(self) -> None:
        """A call is about to drop, which training mode does not allow."""
        self.needed = True
        if self.training:
            raise SettingError(
                "This network calls dropout as a function, which always drops; training mode needs dropout modules."
            )
