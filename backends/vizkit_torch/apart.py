"""Whether a network's answer to one picture depends on others: on those in the batch, or on those that it was shown
before. Further passes are made only where something hints at that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from vizkit.contract.backend import Array

OVER = frozenset(
    (
        *("mean", "sum", "std", "var", "std_mean", "var_mean", "prod", "norm", "normalize", "vector_norm", "logsumexp"),
        *("max", "min", "amax", "amin", "aminmax", "median", "quantile", "softmax", "log_softmax", "cumsum", "sort"),
        *("roll", "flip"),
    )
)
"""Functions that bring together what lies along an axis."""
TOLERANCE = 1e-3
"""How much of the largest value an answer may change by rounding."""
ANSWERS = {
    "before": "gives another answer to the same picture after it has seen others: it keeps something of them, in a "
    "list or a dictionary, so that maps depend on what was computed before. Keep it in a buffer, with which each pass "
    "begins anew, or switch it off.",
    "beside": "gives another answer to a picture beside another one: it takes a mean, a maximum or the like over the "
    "whole batch, so that a map depends on the pictures, noise samples or masks that happen to be computed with it. "
    "Take it over each picture, such as x.amax((1, 2, 3), keepdim=True), or explain with batch_size=1.",
}
"""What a network does whose answer depends on something else, and what to do: by what :func:`depends` finds."""


class Across(TorchFunctionMode):
    """``seen`` tells whether a function of :data:`OVER` went over the pictures of a batch, as far as its call tells."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "").partition(".")[0].strip("_") in OVER:
            self.seen = self.seen or _over_first(*args, *kwargs.values())
        return func(*args, **kwargs)


def _over_first(first: Any, *settings: Any) -> bool:
    """Whether the first axis is among those that are named, or none is."""
    if not isinstance(first, torch.Tensor) or first.ndim < 2 or len(first) != 1:
        return False
    numbers = [one for given in settings for one in (given if isinstance(given, tuple | list) else (given,))]
    axes = [one for one in numbers if isinstance(one, int) and not isinstance(one, bool)]
    return not axes or any(axis % first.ndim == 0 for axis in axes)


def depends(run: Callable[[torch.Tensor], torch.Tensor], pictures: torch.Tensor) -> str:
    """On what else the answer to the first of two pictures depends: "before", what the network was shown until then,
    "beside", what is in a batch with it, or "", nothing."""
    if pictures.is_meta:  # no values
        return ""
    alone, other = run(pictures[:1]).clone(), run(pictures[1:]).clone()
    if differ(run(pictures[:1]), alone):
        return "before"
    try:
        both = run(pictures)
    except (RuntimeError, AssertionError):  # such as of a network that was exported for one picture
        return ""
    together = len(both) == 2 and (differ(both[:1], alone) or differ(both[1:], other))
    return "beside" if together else ""


def differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or not other.numel():
        return False
    near = TOLERANCE * float(other.abs().nan_to_num().max())
    return bool(((one - other).abs().nan_to_num() > near).any())


def examples(shape: tuple[int, ...]) -> Array:
    """Two pictures, one of more contrast."""
    found = np.random.default_rng(0).normal(size=(2, *shape))
    found[1] *= 3.0
    return found
