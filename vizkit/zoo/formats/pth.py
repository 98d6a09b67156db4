"""``.pth``: what ``torch.save(model.state_dict(), path)`` writes, read and written without PyTorch.

Our own, since nothing but PyTorch reads such files safely, and a Gluon-only machine has none.

Two layouts are read. The *zip* layout (torch 1.6 and later) is an archive of uncompressed records: ``data.pkl``, the
pickled dictionary; ``data/<key>``, the bytes of one storage each; ``byteorder``. The *legacy* layout (before 1.6;
torchvision's VGG19 and GoogLeNet are such files) is a stream: the pickled magic number, protocol version, system facts,
dictionary, and list of storage keys, then for each key the number of elements (int64) and the elements, little-endian.

The zip layout is written: ``torch.load(path, weights_only=True)`` reads it. Metadata lie beside it in the record
``vizkit.json``, which PyTorch ignores.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from vizkit.contract.errors import WeightsError
from vizkit.zoo.formats.kinds import MAX_TENSORS, Array, plain, raw_bytes, shown
from vizkit.zoo.formats.source import Source, metadata_from
from vizkit.zoo.formats.tensors import Storage, TensorRef, Tensors
from vizkit.zoo.formats.unpickler import STORAGES, Inert, Unpickler

ENTRIES = (
    "state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module", "state_dict_ema",
    "model_ema", "ema_state_dict", "ema",
)  # fmt: skip
"""Where checkpoints keep a network's state, in the order in which it is looked for: averaged weights come last."""
ENTRY = "vizkit:entry"
"""Under this key the metadata say where the state was found."""
_DAMAGED = (zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, EOFError, ValueError, RuntimeError, OSError)
_LOCAL = struct.Struct("<4s22x2H")
_TAIL = 22 + 0xFFFF
"""Bytes at a file's end among which the directory's own place and length stand."""
_MAX_DIRECTORY = 8 << 20
"""Bytes of a directory, of which zipfile makes some fifteen times as much."""
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_ALIGNMENT = 64
_HEADER = 30  # bytes of a zip record's local header, before name and extra field
_METADATA = "vizkit.json"
_WRITTEN = {kind: storage for storage, kind in STORAGES.items() if storage not in ("UntypedStorage", "BFloat16Storage")}


def read_zip(source: Source) -> tuple[dict[str, Array], dict[str, str]]:
    """Parameters and metadata of a zip-layout file.

    Raises:
        WeightsError: damaged, not from ``torch.save``, or holding more than tensors.
    """
    found = _records(source)
    name = next((name for name in found if name.rpartition("/")[2] == "data.pkl"), None)
    if name is None:
        raise source.refused("it is a zip archive without a 'data.pkl'", "Unpack it, and give the weights file inside.")
    folder = name[: -len("data.pkl")]
    if f"{folder}constants.pkl" in found:
        raise source.refused("it is a TorchScript program", "Save the model's state_dict() with torch.save instead.")
    order = _content(source, found, f"{folder}byteorder", b"little")
    metadata = metadata_from(source, _content(source, found, f"{folder}{_METADATA}", b"{}"))
    _enter(source, found[name])
    refs, entry = _state_dict(source, Unpickler(source).load())

    def place(storage: Storage) -> int:
        record = found.get(f"{folder}data/{storage.key}")
        if record is None or record.file_size != storage.count * storage.kind.itemsize:
            there = "no bytes" if record is None else f"{record.file_size} bytes"
            raise source.corrupt(f"storage {shown(storage.key)} has {there} where its pickle describes another number")
        _enter(source, record)
        return record.CRC

    tensors = Tensors(source, place, swapped=order == b"big")
    return {name: tensors.array(name, ref) for name, ref in refs}, metadata | ({ENTRY: entry} if entry else {})


def read_legacy(source: Source) -> tuple[dict[str, Array], dict[str, str]]:
    """Parameters of a legacy-layout file; it has no metadata, and no checksums.

    Raises:
        WeightsError: damaged, not from ``torch.save``, or holding more than tensors.
    """
    if Unpickler(source).load() != _MAGIC or Unpickler(source).load() != _PROTOCOL:
        raise source.refused("it is a pickle that torch.save did not write", "Give a file of torch.save.")
    Unpickler(source).load()  # sizes of C's integers where it was saved: the layout does not depend on them
    unpickler = Unpickler(source)
    refs, entry = _state_dict(source, unpickler.load())
    keys = Unpickler(source).load()
    if not isinstance(keys, list):
        raise source.corrupt("the list of its storages is missing")
    places: dict[str, int] = {}
    for key in keys:
        if not isinstance(key, str) or key not in unpickler.kinds or key in places:
            raise source.corrupt(f"it lists the storage {shown(key)}, which its pickle does not describe")
        kind, count = unpickler.kinds[key]
        (there,) = source.unpack("<q")
        if there != count:
            raise source.corrupt(f"storage {shown(key)} holds {there} elements, where its pickle says otherwise")
        places[key] = source.position
        source.skip(count * kind.itemsize)

    def place(storage: Storage) -> int:
        if storage.key not in places:
            raise source.corrupt(f"storage {shown(storage.key)} is missing")
        source.seek(places[storage.key])
        return 0

    tensors = Tensors(source, place)
    return {name: tensors.array(name, ref) for name, ref in refs}, {ENTRY: entry} if entry else {}


def _records(source: Source) -> dict[str, zipfile.ZipInfo]:
    """The records of the archive by name.

    Raises:
        WeightsError: no directory, one that points outside the file, or records that together exceed the file.
    """
    source.seek(max(0, source.size - _TAIL))
    end = source.take(source.end - source.position).rpartition(b"PK\5\6")[2]
    if len(end) < 18 or len(end) == min(source.size, _TAIL):
        raise source.corrupt("it starts as a zip archive and has no directory at its end")
    if int.from_bytes(end[8:12], "little") > _MAX_DIRECTORY:
        raise source.corrupt("its directory is larger than any network's")
    try:
        infos = zipfile.ZipFile(source.file).infolist()
    except _DAMAGED as error:
        raise source.corrupt(f"its directory is damaged ({error})") from None
    found = {info.filename: info for info in infos}
    if len(found) > 2 * MAX_TENSORS:
        raise source.corrupt(f"its directory announces {len(infos)} records")
    if len(found) < len(infos):
        raise source.corrupt("it holds two records of one name")
    if sum(info.file_size for info in infos if info.compress_type == zipfile.ZIP_STORED) > source.size:
        raise source.corrupt("its records overlap")
    return found


def _enter(source: Source, record: zipfile.ZipInfo) -> None:
    """Place ``source`` at the data of ``record``, bounded by its length."""
    plain = record.compress_type == zipfile.ZIP_STORED and not record.flag_bits & 1
    if not plain or record.file_size != record.compress_size:
        name = shown(record.filename)
        raise source.corrupt(f"its record {name} is compressed or encrypted, which torch.save never does")
    source.seek(record.header_offset)
    signature, name, extra = _LOCAL.unpack(source.take(_LOCAL.size))
    if signature != b"PK\3\4":
        raise source.corrupt(f"its record {shown(record.filename)} does not start where the directory says")
    source.skip(name + extra)
    source.seek(source.position, record.file_size)


def _content(source: Source, found: Mapping[str, zipfile.ZipInfo], name: str, missing: bytes) -> bytes:
    """A small record's bytes, or ``missing``."""
    if name not in found:
        return missing
    _enter(source, found[name])
    if found[name].file_size > 1 << 20:
        raise source.corrupt(f"its record {shown(name)} has {found[name].file_size} bytes")
    return source.take(found[name].file_size)


def _state_dict(source: Source, loaded: object) -> tuple[list[tuple[str, TensorRef]], str]:
    """Names and tensors of a state dict, or of the first one that a checkpoint holds under one of :data:`ENTRIES`, and
    under which, as in "ema.module"."""
    advice = "Save model.state_dict() with torch.save, or a dictionary that holds it under 'state_dict'."
    path: list[str] = []
    while isinstance(loaded, dict):
        inner = next((key for key in ENTRIES if isinstance(loaded.get(key), dict) and loaded[key]), None)
        if inner is None:
            break
        path.append(inner)
        loaded = loaded[inner]
    if isinstance(loaded, Inert):
        raise _forbidden(source, loaded)
    if not isinstance(loaded, dict):
        raise source.refused(f"it holds a {_described(loaded)}, expected a dictionary of tensors", advice)
    if len(loaded) > MAX_TENSORS:
        raise source.corrupt(f"it claims {len(loaded)} tensors")
    for name, value in loaded.items():
        if isinstance(value, Inert):
            raise _forbidden(source, value)
        if not isinstance(name, str) or not isinstance(value, TensorRef):
            entry = f"its entry {shown(name)} is a {_described(value)}"
            raise source.refused(f"{entry}, expected tensors by name only", advice)
    return list(loaded.items()), ".".join(path)


def _forbidden(source: Source, found: Inert) -> WeightsError:
    return source.refused(
        f"its pickle asks for {shown(found.name)}",
        "Only tensors in dictionaries are read, since anything else in a pickle can run code. If this is a whole "
        "pickled model or checkpoint that you trust, open it in PyTorch and save model.state_dict() instead.",
    )


def _described(value: object) -> str:
    return "tensor" if isinstance(value, TensorRef) else type(value).__name__


def write(path: Path, params: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write the zip layout. The same parameters give the same bytes.

    Raises:
        WeightsError: a parameter's type has no storage class; float16 is written as it is.
    """
    arrays = plain(params, _WRITTEN, ".pth")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        _record(archive, "data.pkl", _pickled(arrays))
        _record(archive, "byteorder", b"little")
        if metadata:
            _record(archive, _METADATA, json.dumps(dict(metadata), sort_keys=True).encode())
        for key, array in enumerate(arrays.values()):
            _record(archive, f"data/{key}", raw_bytes(array))
        _record(archive, "version", b"3\n")


def _record(archive: zipfile.ZipFile, name: str, data: bytes | memoryview) -> None:
    """One record, its data aligned as PyTorch does it, so that it can be mapped into memory."""
    info = zipfile.ZipInfo(f"archive/{name}")
    info.file_size = len(data)
    gap = -(archive.start_dir + _HEADER + len(info.filename) + 4) % _ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", gap) + b"Z" * gap
    with archive.open(info, "w") as record:
        record.write(data)


def _pickled(arrays: Mapping[str, Array]) -> bytes:
    """The pickle (protocol 2) of an ordered dictionary of tensors, each on a storage of its own."""
    entries = b"".join(_text(name) + _tensor(str(key), array) for key, (name, array) in enumerate(arrays.items()))
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + entries + b"u."


def _tensor(key: str, array: Array) -> bytes:
    storage = f"ctorch\n{_WRITTEN[array.dtype.name]}\n".encode()
    where = b"(" + _text("storage") + storage + _text(key) + _text("cpu") + _integer(array.size) + b"tQ"
    strides = [1]
    for size in reversed(array.shape[1:]):
        strides.insert(0, strides[0] * max(size, 1))
    view = _integer(0) + _tuple(array.shape) + _tuple(strides[: array.ndim])
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + where + view + b"\x89ccollections\nOrderedDict\n)RtR"


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _tuple(values: tuple[int, ...] | list[int]) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"


def _integer(value: int) -> bytes:
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)
