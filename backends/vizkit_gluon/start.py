"""Importing MXNet without leaving traces: under newer NumPy, with a stated number of threads."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

import numpy as np

_threads: list[int] = []
_ours: ContextVar[bool] = ContextVar("_ours", default=False)
"""Whether it is vizkit that imports MXNet."""


@contextmanager
def with_bool() -> Iterator[None]:
    """Within the block NumPy has ``numpy.bool``, which MXNet 1.9 reads while it is imported, and newer NumPy lacks."""
    alias = "bool" not in vars(np)
    if alias:
        vars(np)["bool"] = np.bool_
    try:
        yield
    finally:
        if alias:
            del vars(np)["bool"]


class Finder(MetaPathFinder):
    """Lets whoever has imported vizkit import MXNet under newer NumPy, too: to build a network, say.

    Where vizkit imports it itself, scikit-learn and SciPy's statistics are hidden from it, which take half of the time:
    the one, which would bring pandas along, for a base class of MXNet's ``FeedForward`` of long ago; the other for two
    functions, which get them later, by :class:`Late`.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name in ("sklearn", "scipy.stats") and _ours.get():
            raise ModuleNotFoundError("MXNet goes without it while vizkit imports it", name=name)
        found = PathFinder.find_spec(name, path, target) if name == "mxnet" else None
        if found is not None and found.loader is not None:
            found.loader.exec_module = with_bool()(found.loader.exec_module)  # type: ignore[method-assign]
        return found


class Late(ModuleType):
    """Stands for the module of its name, which is imported once something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def install() -> None:
    """Once; before the finders that would take MXNet as it is."""
    if not any(isinstance(one, Finder) for one in sys.meta_path):
        sys.meta_path.insert(0, Finder())


def import_mxnet(count: int, asked: bool) -> None:
    """Import MXNet 1.9 where NumPy has no ``numpy.bool`` any more, and let its operators use ``count`` threads.

    It halves the number of processors for its thread count, unless OMP_NUM_THREADS is set when it is imported, and
    keeps the number for good. The user's environment wins over the default, and what the user ``asked`` vizkit for
    over both.
    """
    if "mxnet" in sys.modules:
        return
    before = os.environ.get("OMP_NUM_THREADS")
    given = os.environ.get("MXNET_OMP_MAX_THREADS", before)
    if given is not None and given.isdigit() and not asked:
        count = int(given)
    os.environ["OMP_NUM_THREADS"] = str(count)
    install()
    ours, collects = _ours.set(True), gc.isenabled()
    gc.disable()  # it would look again and again at the functions of a thousand operators, none of which goes away
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("mxnet")
    finally:
        _ours.reset(ours)
        if collects:
            gc.enable()
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    _threads.append(count)
    if importlib.util.find_spec("scipy") is not None:
        for module, name in (("mxnet.contrib.quantization", "stats"), ("mxnet.test_utils", "ss")):
            setattr(sys.modules[module], name, Late("scipy.stats"))


def threads() -> int:
    """Threads that one operator uses. MXNet imported by the user before has halved the processors."""
    if not _threads:
        given = os.environ.get("MXNET_OMP_MAX_THREADS", os.environ.get("OMP_NUM_THREADS", ""))
        _threads.append(int(given) if given.isdigit() else max(1, (os.cpu_count() or 2) // 2))
    return _threads[0]
