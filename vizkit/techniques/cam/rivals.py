"""Which classes another is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...contract.backend import Array, Model
from ...contract.errors import SettingError


def rivals(model: Model, logits: Array, chosen: Sequence[int], similar: int | Sequence[int | str]) -> Array:
    """For each row of ``logits`` (N, classes) the classes (N, K) that its chosen one is compared with: those of the
    nearest logits, the nearest first, as many as there are at most; or those that are named.

    Raises SettingError where there are none, or the class itself is among them.
    """
    classes = logits.shape[1]
    if isinstance(similar, int | np.integer):
        if similar < 1 or classes < 2:
            raise SettingError(f"similar={similar} of {classes} classes: expected at least 1 class beside the target.")
        far = np.abs(logits - logits[np.arange(len(chosen)), chosen][:, None])
        far[np.arange(len(chosen)), chosen] = -1  # itself comes first, and is left out
        return np.argsort(far, axis=1, kind="stable")[:, 1 : similar + 1]
    named = [model.spec.index(one, classes) for one in similar]
    if not named or set(named) & set(chosen):
        raise SettingError(f"similar={list(similar)!r}: name at least one class, and none that is explained itself.")
    return np.tile(np.array(named), (len(chosen), 1))
