"""The element types that weights files hold, and how each is handed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vizkit.contract.errors import WeightsError

Array = NDArray[np.generic]

MAX_TENSORS = 20_000
"""More tensors than any network has. Above it a file is a bomb: small tensors cost more in memory than on disk."""


@dataclass(frozen=True)
class Kind:
    """One element type: its name, the NumPy type its bytes are read as, and the type that is handed over.

    Half precision (``float16``, ``bfloat16``) is handed over as float32: every value of either is a float32 value, so
    nothing is lost, and the convolutions of both frameworks run on it on every device.
    """

    name: str
    stored: str
    loaded: str

    @property
    def itemsize(self) -> int:
        """Bytes per element in the file."""
        return np.dtype(self.stored).itemsize

    def raw(self, swapped: bool = False) -> np.dtype[np.generic]:
        """The type of the bytes in the file: little-endian, or big-endian where ``swapped``."""
        return np.dtype(self.stored).newbyteorder(">" if swapped else "<")

    def widen(self, raw: Array) -> Array:
        """``raw`` (elements as they lie in the file) as the type that is handed over."""
        if self.name == "bfloat16":  # the upper half of a float32
            return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
        if self.name == "bool":  # bytes other than 0 and 1 must not become a NumPy bool
            return np.not_equal(raw, 0)
        return raw.astype(self.loaded, copy=False)


def _kind(name: str, stored: str = "", loaded: str = "") -> Kind:
    return Kind(name, stored or np.dtype(name).str[1:], loaded or name)


KINDS = {
    kind.name: kind
    for kind in (
        _kind("float16", loaded="float32"),
        _kind("bfloat16", stored="u2", loaded="float32"),
        _kind("bool", stored="u1"),
        *map(_kind, ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")),
    )
}


def shown(name: object) -> str:
    """``name`` quoted for a message, cut where a hostile file made it long."""
    text = str(name) if isinstance(name, str) else f"<{type(name).__name__}>"
    return ascii(text if len(text) <= 100 else text[:97] + "...")


def plain(params: Mapping[str, Array], accepted: Mapping[str, object], suffix: str) -> dict[str, Array]:
    """The arrays as they are written: C-contiguous and little-endian, names and types checked.

    Raises:
        WeightsError: an entry that is not an array, a name that is not text, or a type that ``suffix`` cannot hold.
    """
    checked: dict[str, Array] = {}
    for name, array in params.items():
        if not isinstance(name, str) or not name.isprintable() or not name:
            raise WeightsError(
                f"The parameter name {shown(name)} cannot be written: expected non-empty printable text."
            )
        if not isinstance(array, np.ndarray):
            given = type(array).__name__
            raise WeightsError(f"Parameter {shown(name)} is a {given}, expected a NumPy array: convert it first.")
        if array.dtype.name not in accepted:
            raise WeightsError(
                f"Parameter {shown(name)} has the type {array.dtype}, which {suffix} files do not hold; "
                f"expected one of {', '.join(accepted)}. Convert it with .astype first."
            )
        checked[name] = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return checked


def raw_bytes(array: Array) -> memoryview:
    """The bytes of a C-contiguous array, without a copy."""
    return array.reshape(-1).view(np.uint8).data
