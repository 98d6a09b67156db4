"""The weights file out of an archive of MXNet's store, archives that must not be unpacked, and where weights lie."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vizkit.zoo import download
from vizkit.zoo.download.digest import Digest
from vizkit.zoo.download.transfer import TransferError
from vizkit.zoo.download.unzip import unpack

BODY = np.random.default_rng(0).bytes(50_000)
SHA1 = hashlib.sha1(BODY, usedforsecurity=False).hexdigest()


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


GOOD = zipped(**{"models/w-1234.params": BODY, "README": b"x"})
SIZE = GOOD.index(b"PK\1\2") + 24  # of the unpacked file, in the archive's directory
HOSTILE = {
    "climbs": ("leads outside", zipped(**{"../w.params": BODY})),
    "climbs in the middle": ("leads outside", zipped(**{"w.params": BODY, "a/../../b": b"x"})),
    "absolute": ("leads outside", zipped(**{"w.params": BODY, "/etc/x": b"x"})),
    "drive": ("leads outside", zipped(**{"w.params": BODY, "C:\\evil": b"x"})),
    "two": ("holds 2 .params", zipped(**{"a.params": BODY, "b.params": BODY})),
    "none": ("holds 0 .params", zipped(w=BODY)),
    "bomb": ("bomb", zipped(**{"w.params": bytes(9_000_000)})),
    "claim": ("bomb", GOOD[:SIZE] + struct.pack("<L", 1 << 31) + GOOD[SIZE + 4 :]),
    "no archive": ("damaged", BODY),
    "empty": ("damaged", b""),
    "cut short": ("damaged", GOOD[: len(GOOD) // 2]),
    "another byte": ("damaged", GOOD.replace(BODY[1000:1040], bytes(40))),
}


@pytest.mark.quick
@pytest.mark.parametrize(("words", "content"), HOSTILE.values(), ids=HOSTILE)
def test_refused(words: str, content: bytes, tmp_path: Path) -> None:
    archive, target = tmp_path / "w.zip", tmp_path / "w.params"
    archive.write_bytes(content)
    assert content != GOOD
    with pytest.raises(TransferError, match=words):
        unpack(archive, target, Digest())
    assert list(tmp_path.iterdir()) == [archive]


def test_flipped_bytes(tmp_path: Path) -> None:
    archive, target, rng = tmp_path / "w.zip", tmp_path / "w.params", np.random.default_rng(5)
    small = zipped(**{"w.params": bytes(range(200))})
    refusals = 0
    for _ in range(300):
        damaged = bytearray(small)
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        archive.write_bytes(damaged)
        try:
            unpack(archive, target, Digest())
        except TransferError:
            refusals += 1
        else:
            assert target.read_bytes() == bytes(range(200))
    assert refusals > 50


@pytest.mark.quick
def test_unpacked(tmp_path: Path) -> None:
    archive, target = tmp_path / "w.zip", tmp_path / "w.params"
    archive.write_bytes(GOOD)
    with pytest.raises(TransferError, match=f"{SHA1}, expected {'ab' * 20}"):
        unpack(archive, target, Digest(sha1="ab" * 20))
    unpack(archive, target, Digest(sha1=SHA1))
    assert target.read_bytes() == BODY
    assert sorted(tmp_path.iterdir()) == [target, archive]
    for path, words in ((tmp_path / "absent.zip", "No such file"), (tmp_path, "directory|denied")):
        with pytest.raises(TransferError, match=words):
            unpack(path, target, Digest())


@pytest.mark.quick
def test_places(monkeypatch: pytest.MonkeyPatch) -> None:
    def places() -> tuple[Path, Path, str, str]:
        caches = download.torch_cache(), download.mxnet_cache()
        return (*caches, download.torch_repository(), download.mxnet_repository())

    for name in ("TORCH_HOME", "XDG_CACHE_HOME", "MXNET_HOME", "VIZKIT_TORCH_REPO", "MXNET_GLUON_REPO"):
        monkeypatch.delenv(name, raising=False)
    stores = "https://download.pytorch.org/models/", "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/"
    assert places() == (Path.home() / ".cache/torch/hub/checkpoints", Path.home() / ".mxnet/models", *stores)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert places()[0] == Path("/x/torch/hub/checkpoints")
    for name, value in (("TORCH_HOME", "/t"), ("MXNET_HOME", "/m")):
        monkeypatch.setenv(name, value)
    for name, value in (("VIZKIT_TORCH_REPO", "http://mirror/torch"), ("MXNET_GLUON_REPO", "http://mirror/")):
        monkeypatch.setenv(name, value)
    assert places() == (Path("/t/hub/checkpoints"), Path("/m/models"), "http://mirror/torch/", "http://mirror/")
