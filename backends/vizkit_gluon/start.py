"""Importing MXNet without leaving traces: under newer NumPy, with a stated number of threads."""

from __future__ import annotations

import importlib
import os
import sys
import warnings

import numpy as np

_threads: list[int] = []


def import_mxnet(count: int, asked: bool) -> None:
    """Import MXNet 1.9 where NumPy has no ``numpy.bool`` any more, and let its operators use ``count`` threads.

    MXNet reads ``numpy.bool`` while it is imported; the alias exists for that long only. It halves the number of
    processors for its thread count, unless OMP_NUM_THREADS is set when it is imported, and keeps the number for good.
    The user's environment wins over the default, and what the user ``asked`` vizkit for over both.
    """
    if "mxnet" in sys.modules:
        return
    before = os.environ.get("OMP_NUM_THREADS")
    given = os.environ.get("MXNET_OMP_MAX_THREADS", before)
    if given is not None and given.isdigit() and not asked:
        count = int(given)
    alias = "bool" not in vars(np)
    os.environ["OMP_NUM_THREADS"] = str(count)
    if alias:
        vars(np)["bool"] = np.bool_
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("mxnet")
    finally:
        if alias:
            del vars(np)["bool"]
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    _threads.append(count)


def threads() -> int:
    """Threads that one operator uses. MXNet imported by the user before has halved the processors."""
    if not _threads:
        given = os.environ.get("MXNET_OMP_MAX_THREADS", os.environ.get("OMP_NUM_THREADS", ""))
        _threads.append(int(given) if given.isdigit() else max(1, (os.cpu_count() or 2) // 2))
    return _threads[0]
