"""``.params``: MXNet's list of NDArrays (``mx.nd.save``, ``Block.save_parameters``), read and written without MXNet.

Our own, since nothing but MXNet reads such files, and a PyTorch-only machine has none.

All numbers are little-endian::

    uint64 0x112, uint64 reserved
    uint64 number of arrays, then each:  uint32 magic, int32 storage type, int32 ndim, int64[ndim] shape,
                                         int32 device type, int32 device id, int32 element type, the elements
    uint64 number of names,  then each:  uint64 length, bytes

The magic is V2 (0xF993FAC9), which is written; V3 (0xF993FACA) is the same, saved under NumPy semantics, where ndim 0
is a scalar; V1 (0xF993FAC8) has no storage type; before V1 the magic was the ndim and the shape uint32. The names of
symbolic checkpoints carry ``arg:`` or ``aux:``, which is taken off. Metadata follow the names, behind ``VIZKITMD`` and
their length: MXNet reads no further than the names.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

from vizkit.contract.errors import WeightsError
from vizkit.zoo.formats.kinds import KINDS, MAX_TENSORS, Array, plain, raw_bytes, shown
from vizkit.zoo.formats.source import Source, metadata_from

MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_TYPES = dict(enumerate(("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool"))) | {
    12: "bfloat16"
}
"""By MXNet's numbers."""
_WRITTEN = {name: flag for flag, name in _TYPES.items() if name != "bfloat16"}
_TAIL = b"VIZKITMD"
_MAX_DIMENSIONS = 32
_CPU = (1, 0)


def read(source: Source) -> tuple[dict[str, Array], dict[str, str]]:
    """Parameters and metadata.

    Raises:
        WeightsError: damaged, a sparse or an empty array, or arrays without names.
    """
    source.seek(16)
    arrays = [_array(source, index) for index in range(_count(source, "arrays", 12))]
    names = [_name(source) for _ in range(_count(source, "names", 8))]
    if arrays and not names:
        raise source.refused("its arrays have no names", "Save a dictionary: mx.nd.save(path, {name: array}).")
    if len(names) != len(arrays):
        raise source.corrupt(f"it has {len(arrays)} arrays and {len(names)} names")
    params = dict(zip(names, arrays, strict=True))
    if len(params) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise source.corrupt(f"it names two arrays {shown(twice)}")
    metadata: dict[str, str] = {}
    if source.end - source.position >= len(_TAIL) + 8 and source.take(len(_TAIL)) == _TAIL:
        metadata = metadata_from(source, source.take(source.unpack("<Q")[0]))
    return params, metadata


def _count(source: Source, what: str, smallest: int) -> int:
    """A number of things, each of at least ``smallest`` bytes."""
    (count,) = source.unpack("<Q")
    if count > MAX_TENSORS:
        raise source.corrupt(f"it claims {count} {what}")
    source.need(count * smallest)
    return count


def _array(source: Source, index: int) -> Array:
    (magic,) = source.unpack("<I")
    if magic in (_V2, _V3):
        (storage,) = source.unpack("<i")
        if storage != 0:
            advice = "Save it dense: array.tostype('default')."
            raise source.refused(f"array {index} is sparse (storage type {storage}), expected a dense one", advice)
    shape = _shape(source, magic)
    if magic != _V3 and not shape:
        raise source.refused(f"array {index} is empty", "Initialise the parameters before saving them.")
    _, _, flag = source.unpack("<3i")
    if flag not in _TYPES:
        raise source.corrupt(f"array {index} has the element type {flag}, which MXNet does not have")
    return source.numbers(KINDS[_TYPES[flag]], math.prod(shape)).reshape(shape)


def _shape(source: Source, magic: int) -> tuple[int, ...]:
    """The shape of an array; before V1 ``magic`` itself is the number of dimensions."""
    modern = magic in (_V1, _V2, _V3)
    ndim = source.unpack("<i")[0] if modern else magic
    if not 0 <= ndim <= _MAX_DIMENSIONS:
        raise source.corrupt(f"an array before byte {source.position} has {ndim} dimensions")
    shape = source.unpack(f"<{ndim}{'q' if modern else 'I'}")
    if min(shape, default=1) < 0 or math.prod(size for size in shape if size) >= 1 << 62:
        raise source.corrupt(f"an array before byte {source.position} has a shape that no array can have")
    return shape


def _name(source: Source) -> str:
    (length,) = source.unpack("<Q")
    source.need(length)
    if length > 1 << 16:
        raise source.corrupt(f"a name has {length} bytes")
    return source.take(length).decode("utf-8", "backslashreplace").removeprefix("arg:").removeprefix("aux:")


def write(path: Path, params: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write V2 arrays, which ``mx.nd.load`` and ``Block.load_parameters`` read.

    Raises:
        WeightsError: a type that MXNet does not have, or an array without dimensions or elements, which V2 cannot say.
    """
    arrays = plain(params, _WRITTEN, ".params")
    for name, array in arrays.items():
        if array.size == 0 or array.ndim == 0:
            raise WeightsError(
                f"Parameter {shown(name)} has the shape {array.shape}, which .params files cannot hold: "
                "leave it out, reshape it to (1,), or write a .safetensors file."
            )
    with path.open("wb") as file:
        file.write(struct.pack("<3Q", MAGIC, 0, len(arrays)))
        for array in arrays.values():
            head = (_V2, 0, array.ndim, *array.shape, *_CPU, _WRITTEN[array.dtype.name])
            file.write(struct.pack(f"<Iii{array.ndim}q3i", *head))
            file.write(raw_bytes(array))
        file.write(struct.pack("<Q", len(arrays)))
        for encoded in map(str.encode, arrays):
            file.write(struct.pack("<Q", len(encoded)) + encoded)
        if metadata:
            text = json.dumps(dict(metadata), sort_keys=True).encode()
            file.write(_TAIL + struct.pack("<Q", len(text)) + text)
