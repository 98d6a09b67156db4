"""MXNet's NDArray interface, whatever the process has chosen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mxnet as mx


@contextmanager
def legacy() -> Iterator[None]:
    """Within the block ``npx.set_np()`` is off: under it Gluon builds networks of other operators, arrays are of
    another class, and a size of 0 means another thing."""
    with mx.util.np_array(False), mx.util.np_shape(False):  # in this order, or MXNet refuses
        yield
