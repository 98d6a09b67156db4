"""Activation checkpointing, which computes a part of the network once more when a gradient is asked for.

By then a pass is over: the network is in its user's mode again, with nothing folded, and no rule is followed. So in a
pass nothing is put off, and the part is computed once, as without a checkpoint.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch.utils import checkpoint

_MODULE: Any = checkpoint
_HOOK = getattr(_MODULE, "_checkpoint_hook", None)
"""What the newer form goes through, a private name: without it that form stays as it is."""
_LOCK = threading.Lock()
_passes = 0
"""Those that are under way, in all threads."""


def _call(function: Callable[..., Any], _preserve: bool, *args: Any) -> Any:
    return function(*args)


@contextmanager
def direct() -> Iterator[None]:
    """Within the block checkpoints just call their function, in both forms, whatever name they were imported by."""
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    """With the first pass, what both forms go through does nothing; with the last, it is PyTorch's again."""
    global _passes
    with _LOCK:
        before, _passes = _passes, _passes + change
        if not before:
            _MODULE.CheckpointFunction.apply = staticmethod(_call)
            if _HOOK is not None:
                _MODULE._checkpoint_hook = lambda _frame: nullcontext()
        elif not _passes:
            del _MODULE.CheckpointFunction.apply
            if _HOOK is not None:
                _MODULE._checkpoint_hook = _HOOK
