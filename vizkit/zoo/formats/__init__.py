"""Weights files in plain NumPy: ``.safetensors``, ``.pth`` (both layouts) and ``.params``, without their frameworks.

No file can run code, and none allocates more than about twice its own length (half precision counted as the float32
that it becomes) and what the directory of an archive takes, whatever it claims. In every format float16 and bfloat16
are handed over as float32, which holds each of their values exactly; all other types stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vizkit.contract.errors import WeightsError
from vizkit.support.files import replacing
from vizkit.zoo.formats import neutral, params, pth
from vizkit.zoo.formats.kinds import Array
from vizkit.zoo.formats.source import Source, opened

__all__ = ["Format", "WeightFile", "check_suffix", "read", "write"]

Format = Literal["safetensors", "pth", "pth-legacy", "params"]

_READERS = {
    "safetensors": neutral.read,
    "pth": pth.read_zip,
    "pth-legacy": pth.read_legacy,
    "params": params.read,
}
_WRITERS = {".safetensors": neutral.write, ".pth": pth.write, ".params": params.write}


@dataclass(frozen=True, eq=False)
class WeightFile:
    """What a weights file holds: arrays by name, in the file's order, and text by key."""

    path: Path
    format: Format
    params: dict[str, Array]
    metadata: dict[str, str]
    entry: str = ""
    """Where a checkpoint holds these arrays, as in "state_dict"; empty where the file is nothing else."""


def read(path: str | os.PathLike[str]) -> WeightFile:
    """Read a weights file; its content decides the format, not its suffix.

    Arrays are C-contiguous, writeable, and own no open file; scalars (``num_batches_tracked``) have the shape ``()``.
    Names are the file's, except that a leading ``arg:`` or ``aux:`` of MXNet's symbolic checkpoints is taken off.
    Of a checkpoint that holds a state under one of :data:`vizkit.zoo.formats.pth.ENTRIES`, that is taken. Tied weights
    share memory.

    Raises:
        WeightsError: missing, a folder, unreadable, of no known format, damaged, or holding more than tensors.

    Example:
        >>> weights = read("vgg19-dcbb9e9d.pth")  # doctest: +SKIP
        >>> weights.format, weights.params["features.0.weight"].shape  # doctest: +SKIP
        ('pth-legacy', (64, 3, 3, 3))
    """
    path = Path(path)
    with opened(path) as source:
        format = _sniff(source)
        found, metadata = _READERS[format](source)
    entry = metadata.pop(pth.ENTRY, "")
    return WeightFile(path, format, found, metadata, entry)


def write(path: str | os.PathLike[str], params: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write parameters in the format that the suffix names: ``.safetensors``, ``.pth`` or ``.params``.

    The file appears whole or not at all: it is written under a temporary name in the same folder and then renamed.
    ``.params`` holds neither scalars nor empty arrays; float16 is written as it is.

    Raises:
        WeightsError: another suffix, a missing folder, or a parameter that the format cannot hold.

    Example:
        >>> write("two.safetensors", {"w": np.zeros((2, 3), np.float32)}, {"model": "toy"})  # doctest: +SKIP
    """
    path = Path(path)
    text = dict(metadata or {})
    check_suffix(path)
    if not all(isinstance(item, str) for pair in text.items() for item in pair):
        raise WeightsError(f"The metadata for '{path}' are not text by text: convert keys and values with str().")
    with replacing(path, WeightsError) as temporary:
        _WRITERS[path.suffix](temporary, params, text)


def check_suffix(path: Path) -> None:
    """Raise WeightsError unless the suffix names a format that is written."""
    if path.suffix not in _WRITERS:
        raise WeightsError(f"'{path}' does not say which format to write: expected one of {', '.join(_WRITERS)}.")


def _sniff(source: Source) -> Format:
    """The format by the first 16 bytes."""
    head = source.take(min(16, source.size))
    source.seek(0)
    if head[8:9] == b"{":
        return "safetensors"
    if head[:4] == b"PK\3\4":
        return "pth"
    if head[:8] == params.MAGIC.to_bytes(8, "little"):
        return "params"
    if head[:1] == b"\x80":
        return "pth-legacy"
    what = "it is empty" if not head else f"its first bytes, {head[:8]!r}, are of no weights format"
    raise source.corrupt(f"{what} (expected .safetensors, .pth or .params)")
