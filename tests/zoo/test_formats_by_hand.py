"""Weights files built byte by byte: layouts that nothing writes any more, damage, and malice."""

from __future__ import annotations

import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vizkit.errors import WeightsError
from vizkit.zoo.formats import read, unpickler, write
from vizkit.zoo.formats.kinds import Array

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
VALUES = np.arange(6, dtype="<f4")
PARAMS: dict[str, Array] = {"weight": np.linspace(-1, 1, 60).astype("<f4").reshape(4, 5, 3), "bias": np.arange(4.0)}
FORMATS = ("safetensors", "pth", "params", "legacy")


def tensor(where: bytes, view: bytes = b"N", count: bytes = b"K\6") -> bytes:
    """A pickled tensor on the storage 'k'; ``where`` is its offset, shape and strides."""
    storage = b"(U\7storagectorch\nFloatStorage\nU\1kU\3cpu" + count + view + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor\n(" + storage + where + b"tR"


def entry(where: bytes, **parts: bytes) -> bytes:
    """A pickled dictionary of one tensor 'w'."""
    return b"\x80\x02}U\1w" + tensor(where, **parts) + b"s."


def torch_like(data: bytes, values: bytes = VALUES.tobytes(), order: bytes = b"little") -> Callable[[Path], None]:
    """A zip-layout file with this pickle and these bytes under the storage key 'k'."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (("data.pkl", data), ("byteorder", order), ("data/k", values)):
                archive.writestr(f"x/{name}", content)

    return make


def legacy(data: bytes, values: bytes = VALUES.tobytes(), count: int = 6) -> Callable[[Path], None]:
    """A legacy-layout file with this pickle and these bytes under the storage key 'k'."""
    content = MAGIC + data + pickle.dumps(["k"], 2) + struct.pack("<q", count) + values

    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def mxnet_list(array: bytes, name: bytes = b"w") -> bytes:
    return struct.pack("<3Q", 0x112, 0, 1) + array + struct.pack("<2Q", 1, len(name)) + name


def sample(kind: str, path: Path) -> Path:
    """A small sound file of each format, without any framework."""
    if kind == "legacy":
        legacy(entry(b"K\0K\2K\3\x86K\3K\1\x86"))(path / "w.pth")
        return path / "w.pth"
    write(path / f"w.{kind}", PARAMS)
    return path / f"w.{kind}"


def refused(path: Path, words: str = "cannot be used") -> None:
    """Reading raises a WeightsError that names the file, and claims cost no memory."""
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=words) as caught:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert peak < 2 * (path.stat().st_size if path.is_file() else 0) + 2_000_000


def same(path: Path, expected: Array) -> None:
    found = read(path).params["w"]
    assert (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())


@pytest.mark.quick
def test_older_layouts(tmp_path: Path) -> None:
    """Files that no current framework writes, from their descriptions."""
    path, data = tmp_path / "w", struct.pack("<2f", 1, 2)
    for head in (struct.pack("<Iiq", 0xF993FAC8, 1, 2), struct.pack("<2I", 1, 2)):  # V1, and before V1
        path.write_bytes(mxnet_list(head + struct.pack("<3i", 1, 0, 0) + data))
        same(path, np.array([1, 2], np.float32))
    parameter = b"ctorch.nn.parameter\nParameter\n" + tensor(b"K\1K\3\x85K\1\x85", b"(U\1vK\1K\4t") + b"\x85RNb"
    legacy(b"\x80\x02ccollections\nOrderedDict\n]]U\1wa" + parameter + b"aa\x85R.")(path)  # Python 2, storage view
    same(path, VALUES[2:5])
    torch_like(b"\x80\x04\x95" + bytes(8) + b"}\x8c\1w\x94" + tensor(b"K\1K\2\x85K\3\x85") + b"s.")(path)
    same(path, VALUES[[1, 4]])
    torch_like(entry(b"K\0K\6\x85K\1\x85"), VALUES.astype(">f4").tobytes(), b"big")(path)
    same(path, VALUES)
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<2H", 0x3FC0, 0x8000))
    same(path, np.array([1.5, -0.0], np.float32))


@pytest.mark.quick
@pytest.mark.parametrize("kind", FORMATS)
def test_truncated(kind: str, tmp_path: Path) -> None:
    path = sample(kind, tmp_path)
    whole = path.read_bytes()
    assert read(path).params
    for length in {len(whole) - 1, *(1 << power for power in range(len(whole).bit_length() - 1))}:
        path.write_bytes(whole[:length])
        refused(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_flipped_bytes(kind: str, tmp_path: Path) -> None:
    path = sample(kind, tmp_path)
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    messages = []
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert sum(array.nbytes for array in read(path).params.values()) <= 3 * len(whole)
        except WeightsError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(str(path) in message for message in messages)


@pytest.mark.quick
def test_checksum(tmp_path: Path) -> None:
    path = sample("pth", tmp_path)
    data = PARAMS["weight"].tobytes()
    path.write_bytes(path.read_bytes().replace(data, data[:-1] + b"\0"))
    refused(path, "checksum")


class Reduce:
    """Pickles as a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.quick
@pytest.mark.parametrize("layout", [torch_like, legacy])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_pickle_runs_code(layout: Callable[[bytes], Callable[[Path], None]], protocol: int, tmp_path: Path) -> None:
    marker, path = tmp_path / "executed", tmp_path / "w.pth"
    code = f"open({str(marker)!r}, 'w').close()"
    hostile: dict[str, object] = {
        r"system": Reduce(os.system, f"touch {marker}"),
        r"eval": Reduce(eval, code),
        r"exec": {"w": Reduce(exec, code)},
        r"getattr": Reduce(getattr, [], "append"),
        r"numpy.*": np.float64(1),
        r"_reconstruct": {"w": np.zeros(3)},
    }
    for words, value in hostile.items():
        data = pickle.dumps(value, protocol)
        layout(data)(path)
        refused(path, words if protocol else f"{words}|instruction")
        path.write_bytes(data)  # the pickle alone
        refused(path)
    for name in ("torch.load", "torch.storage._load_from_bytes", "torch.FloatStorage.from_file", "collections.Counter"):
        module, _, function = name.rpartition(".")
        layout(f"\x80\2c{module}\n{function}\n(U\1xtR.".encode("latin1"))(path)
        refused(path, name)
    assert not marker.exists()


def test_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, lengths and nesting that a file claims and does not have."""
    assert unpickler._MAX_INSTRUCTIONS <= 800_000
    monkeypatch.setattr(unpickler, "_MAX_INSTRUCTIONS", 1_000)
    path, huge = tmp_path / "w", b"\x8a\x08" + b"\xff" * 7 + b"\x7f"
    nested = b"\x80\2}))\x86" + b"q\0h\0\x86" * 60  # a tuple whose hash takes 2 ** 60 steps
    pickles = {
        "outside its storage": entry(b"K\1K\6\x85K\1\x85"),
        "expands": entry(b"K\0" + b"J\0\0\0\1" * 2 + b"\x86K\0K\0\x86"),
        "no array can": entry(b"K\0K\0" + huge + b"\x86K\1K\1\x86"),
        "negative or missing size": entry(b"K\0J\xff\xff\xff\xff\x85K\1\x85"),
        "no storage": entry(b"J\xff\xff\xff\xffK\2\x85K\1\x85"),
        "dimensions and": entry(b"K\0K\1\x85K\1K\1\x86"),
        "storage 'k'": entry(b"K\0K\2\x85K\1\x85", count=huge),
        "storage view": entry(b"K\0K\2\x85K\1\x85", view=b"(U\1vK\3K\4t"),
        "dictionary key": nested + b"Ns.",
        "larger than": b"\x80\2" + b"]" * 1_000,
        "larger than any": b"\x80\2" + (b"X\0\0\x10\0" + bytes(1 << 20)) * 17,
        "bytes are announced": b"\x80\2X\xff\xff\xff\xffabc.",
        "never made": b"\x80\2j\xff\xff\xff\xff.",
        "not there": b"\x80\2aaaa.",
        "instruction 0x8b": b"\x80\2\x8b\xff\xff\xff\x7f.",
        "expected a dictionary": b"\x80\2K\1.",
    }
    for layout in (torch_like, legacy):
        for words, data in pickles.items():
            layout(data)(path)
            if "larger" in words:
                with pytest.raises(WeightsError, match=words):
                    read(path)
            elif "announced" not in words or layout is torch_like:
                refused(path, words)
    v2 = struct.pack("<Iii", 0xF993FAC9, 0, 2)
    lists = {
        "announced": mxnet_list(v2 + struct.pack("<2q3i", 1 << 40, 1 << 20, 1, 0, 0)),
        "no array can": mxnet_list(v2 + struct.pack("<2q3i", -4, -4, 1, 0, 0)),
        "element type 99": mxnet_list(v2 + struct.pack("<2q3i", 1, 1, 1, 0, 99)),
        "1000000 dimensions": mxnet_list(struct.pack("<Iii", 0xF993FAC9, 0, 1_000_000)),
        "claims": struct.pack("<3Q", 0x112, 0, 1 << 60),
        "is empty": mxnet_list(struct.pack("<Iii", 0xF993FAC9, 0, 0)),
    }
    for words, content in lists.items():
        path.write_bytes(content)
        refused(path, words)
    torch_like(entry(b"K\0K\6\x85K\1\x85"), VALUES.tobytes()[:-1])(path)
    refused(path, "23 bytes")
    for header in (b"{}" + b" " * 30, b"[" * 40, b'{"w":{"dtype":"F32","shape":[99],"data_offsets":[0,396]}}'):
        path.write_bytes(struct.pack("<Q", 1 << 40 if header[:2] == b"{}" else len(header)) + header)
        refused(path)


@pytest.mark.quick
@pytest.mark.parametrize("kind", ["pth", "params", "legacy", "safetensors"])
def test_memory(kind: str, tmp_path: Path) -> None:
    path, values = tmp_path / f"w.{kind}", np.ones(2_000_000, "<f4")
    if kind == "legacy":
        where = b"K\0J" + struct.pack("<i", values.size) + b"\x85K\1\x85"
        count = b"J" + struct.pack("<i", values.size)
        legacy(entry(where, count=count), values.tobytes(), values.size)(path)
    else:
        write(path, {"w": values})
    tracemalloc.start()
    found = read(path).params["w"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * values.nbytes
    assert np.array_equal(found, values)
