"""Importing torchvision without PyTorch's compiler, which it asks one question in an operator of detectors."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo.utils"


class Asked(ModuleType):
    """Stands for the compiler until somebody wants more of it than that one question, which it hands on when it is
    asked. Importing the compiler takes as long as importing PyTorch."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name != "is_compile_supported":
            return getattr(self._real(), name)
        return lambda device: self._real().is_compile_supported(device)

    def _real(self) -> ModuleType:
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        return importlib.import_module(COMPILER)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Within the block who imports the compiler gets :class:`Asked`, unless it has been imported before."""
    asked = Asked(COMPILER)
    if sys.modules.setdefault(COMPILER, asked) is not asked:
        yield
        return
    try:
        yield
    finally:
        if sys.modules.get(COMPILER) is asked:
            del sys.modules[COMPILER]


def torchvision() -> ModuleType:
    """Imported where a network of it is built."""
    with without_compiler():
        return importlib.import_module("torchvision")
