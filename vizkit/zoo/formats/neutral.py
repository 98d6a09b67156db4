"""``.safetensors``: the neutral format, through the ``safetensors`` library, which checks its header.

The library lists and writes tensors in an order of its own (larger element types first, then by name), so the order of
insertion does not survive this format. Its NumPy interface has no bfloat16; the data are therefore read here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vizkit.contract.errors import WeightsError
from vizkit.zoo.formats.kinds import KINDS, MAX_TENSORS, Array, plain, shown
from vizkit.zoo.formats.source import Source

_TYPES = {
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "I8": "int8", "I16": "int16",
    "I32": "int32", "I64": "int64", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool",
}  # fmt: skip
_WRITTEN = [name for name in _TYPES.values() if name != "bfloat16"]
_MAX_HEADER = 16 << 20


def read(source: Source) -> tuple[dict[str, Array], dict[str, str]]:
    """Parameters and metadata.

    Raises:
        WeightsError: damaged, or an element type narrower than a byte or of eight bits floating.
    """
    (length,) = source.unpack("<Q")
    source.need(length)
    if length > _MAX_HEADER:
        raise source.corrupt(f"its header has {length} bytes")
    try:
        with safe_open(str(source.path), framework="numpy") as file:
            metadata = dict(file.metadata() or {})
    except SafetensorError as error:
        raise source.corrupt(f"the safetensors library says: {error}") from None
    header = json.loads(source.take(length))
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise source.corrupt(f"it claims {len(header)} tensors")
    params: dict[str, Array] = {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if entry["dtype"] not in _TYPES:
            advice = "Convert it to float32 and save it again."
            raise source.refused(f"its tensor {shown(name)} has the type {entry['dtype']}", advice)
        source.seek(8 + length + entry["data_offsets"][0])
        shape = tuple(entry["shape"])
        params[name] = source.numbers(KINDS[_TYPES[entry["dtype"]]], math.prod(shape)).reshape(shape)
    return params, metadata


def write(path: Path, params: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write the neutral format.

    Raises:
        WeightsError: a type that the format does not hold.
    """
    arrays = plain(params, dict.fromkeys(_WRITTEN), ".safetensors")
    path.touch()  # a folder that is missing is the system's error in every version of the library
    mode = path.stat().st_mode  # of which the library leaves the owner's part only
    try:
        save_file(arrays, str(path), metadata=dict(metadata) or None)
    except SafetensorError as error:
        raise WeightsError(f"The safetensors library cannot write these parameters: {error}.") from None
    path.chmod(mode)
