"""Fetching weights, against a server in this process."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from vizkit.errors import SettingError, WeightsError
from vizkit.zoo import download
from vizkit.zoo.download import fetch, fetch_zipped, transfer

BODY = np.random.default_rng(0).bytes(700_000)
SHA256, SHA1 = hashlib.sha256(BODY).hexdigest(), hashlib.sha1(BODY, usedforsecurity=False).hexdigest()
WRONG = "0123456789abcdef"


class Handler(BaseHTTPRequestHandler):
    """Serves ``files``; the query says how it misbehaves. ``asked`` notes each Range header."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str | None]] = []
    broken: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        name, _, habit = self.path.lstrip("/").partition("?")
        self.asked.append(self.headers["Range"])
        if name not in self.files or habit == "busy":
            self.send_error(503 if habit == "busy" else 404)
            return
        body = self.files[name]
        start = int(self.headers["Range"][6:-1]) if self.headers["Range"] and habit != "whole" else 0
        tag = f'"{hash(body)}"'
        if self.headers["If-Range"] not in (None, tag):
            start = 0
        if start and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            start += habit == "other"
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if habit != "unknown":
            self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", tag)
        self.end_headers()
        cut = habit == "never" or (habit in ("cut", "other") and name not in self.broken)
        self.broken.add(name)
        self.wfile.write(body[start : start + (len(body) - start) // 2] if cut else body[start:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.01)


@pytest.fixture
def server() -> Iterator[str]:
    Handler.files, Handler.asked, Handler.broken = {"w.pth": BODY}, [], set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def closed() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/w.pth"


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def fails(url: str, target: Path, *words: str, using: Callable[..., Path] = fetch, **settings: object) -> str:
    """The message: it names the address, the folder to use, and the option; no traceback hangs on it."""
    with pytest.raises(WeightsError) as caught:
        using(url, target, **settings)
    message = str(caught.value)
    for word in (url, str(target.parent), target.name, "--weights FILE", *words):
        assert word in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return message


@pytest.mark.quick
@pytest.mark.parametrize("habit", ["", "?cut", "?whole", "?unknown", "?other"])
def test_success(server: str, habit: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "a" / "b" / "w.pth"
    prefix = SHA256[:8].upper()
    url = server + "w.pth" + habit
    assert fetch(url, target, sha256_prefix=prefix, sha1=SHA1, progress=lambda *now: seen.append(now)) == target
    assert target.read_bytes() == BODY
    assert names(target.parent) == ["w.pth"]
    assert seen[-1] == (len(BODY), None if habit == "?unknown" else len(BODY))
    resumed = {"?cut": [None, "bytes=350000-"], "?other": [None, "bytes=350000-", None]}
    assert Handler.asked == resumed.get(habit, [None])


@pytest.mark.quick
@pytest.mark.parametrize("habit", ["", "?whole", "?cut", "?other"])
@pytest.mark.parametrize("length", [100_000, len(BODY), len(BODY) + 9])
def test_resumes_an_earlier_run(
    server: str, habit: str, length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, target = tmp_path / "w.pth.part", tmp_path / "w.pth"
    part.write_bytes((BODY + bytes(9))[:length])
    monkeypatch.setattr(download, "ATTEMPTS", 5)
    assert fetch(server + "w.pth" + habit, target, sha1=SHA1).read_bytes() == BODY
    assert names(tmp_path) == ["w.pth"]
    assert Handler.asked[0] == f"bytes={length}-"


@pytest.mark.quick
def test_a_part_of_another_version(server: str, tmp_path: Path) -> None:
    target, part = tmp_path / "w.pth", tmp_path / "w.pth.part"
    part.write_bytes(bytes(100_000))
    assert fetch(server + "w.pth", target, sha256_prefix=SHA256).read_bytes() == BODY
    assert Handler.asked == ["bytes=100000-", None]
    target.unlink()
    part.write_bytes(bytes(100_000))  # without a hash nobody could tell
    assert fetch(server + "w.pth", target).read_bytes() == BODY
    assert Handler.asked[2:] == [None]


@pytest.mark.quick
def test_changes_meanwhile(server: str, tmp_path: Path) -> None:
    newer = bytes(600_000)

    def publish(have: int, total: int | None) -> None:
        Handler.files["w.pth"] = newer

    assert fetch(server + "w.pth?cut", tmp_path / "w.pth", progress=publish).read_bytes() == newer
    assert Handler.asked == [None, "bytes=350000-"]


@pytest.mark.quick
def test_wrong_hash(server: str, tmp_path: Path) -> None:
    target = tmp_path / "w.pth"
    fails(server + "w.pth", target, SHA256, WRONG, sha256_prefix=WRONG)
    assert names(tmp_path) == []
    target.write_bytes(b"older")
    older = hashlib.sha256(b"older").hexdigest()
    fails(server + "w.pth", target, SHA256, WRONG, older, sha256_prefix=WRONG)
    assert target.read_bytes() == b"older"
    assert fetch(server + "w.pth", target, sha256_prefix=SHA256).read_bytes() == BODY
    with pytest.raises(SettingError, match="sha1='abc'"):
        fetch(server + "w.pth", target, sha1="abc")


@pytest.mark.quick
def test_server_refuses(server: str, tmp_path: Path) -> None:
    fails(server + "absent.pth", tmp_path / "w.pth", "404")
    assert len(Handler.asked) == 1  # asking again cannot help
    fails(server + "w.pth?busy", tmp_path / "w.pth", "503")
    assert len(Handler.asked) == 4
    Handler.files["w.pth"] = b""
    fails(server + "w.pth", tmp_path / "w.pth", "empty file")
    assert names(tmp_path) == []


@pytest.mark.quick
def test_broken_off_for_good(server: str, tmp_path: Path) -> None:
    fails(server + "w.pth?never", tmp_path / "w.pth", "broke off after 612500 of 700000 bytes", sha1=SHA1)
    assert names(tmp_path) == ["w.pth.part"]
    assert fetch(server + "w.pth", tmp_path / "w.pth", sha1=SHA1).read_bytes() == BODY
    assert Handler.asked[-1] == "bytes=612500-"


@pytest.mark.quick
def test_nobody_answers(closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "w.pth"
    fails(closed, target, "refused", sha1=SHA1)
    target.write_bytes(b"older")
    fails(closed, target, "refused", "is there now is not it", hashlib.sha1(b"older").hexdigest(), sha1=SHA1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/w.pth"
        monkeypatch.setattr(transfer, "TIMEOUT", 0.1)
        fails(url, tmp_path / "x.pth", "timed out")
    fails("file:///etc/hosts", tmp_path / "x.pth", "https://")
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("http_proxy", closed.removesuffix("w.pth"))
    fails("http://weights.invalid/w.pth", tmp_path / "x.pth", "refused")  # by the proxy, which was honoured
    assert names(tmp_path) == ["w.pth"]


@pytest.mark.quick
def test_cache_needs_no_server(closed: str, tmp_path: Path) -> None:
    target = tmp_path / "w.pth"
    target.write_bytes(BODY)
    assert fetch(closed, target) == target
    assert fetch(closed, target, sha256_prefix=SHA256[:8]) == target
    assert fetch(closed, target, sha1=SHA1.upper()) == target
    assert fetch_zipped(closed, target, sha1=SHA1) == target
    with pytest.raises(WeightsError, match="is a folder"):
        fetch(closed, tmp_path)
    fails(closed, target / "w.pth", "cannot be kept")


@pytest.mark.quick
def test_interrupted(server: str, tmp_path: Path) -> None:
    def interrupt(have: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server + "w.pth", tmp_path / "w.pth", sha1=SHA1, progress=interrupt)
    assert names(tmp_path) == ["w.pth.part"]
    assert fetch(server + "w.pth", tmp_path / "w.pth", sha1=SHA1).read_bytes() == BODY
    with pytest.raises(KeyboardInterrupt):
        fetch_zipped(server + "w.pth", tmp_path / "w.params", progress=interrupt)
    assert names(tmp_path) == ["w.pth"]


@pytest.mark.quick
def test_two_at_once(server: str, tmp_path: Path) -> None:
    """While one fetch is under way another one, of the same file, completes; then the first does."""
    target = tmp_path / "w.pth"
    inner: list[bytes] = []

    def meanwhile(have: int, total: int | None) -> None:
        if not inner:
            inner.append(fetch(server + "w.pth", target, sha1=SHA1).read_bytes())

    assert fetch(server + "w.pth", target, sha1=SHA1, progress=meanwhile).read_bytes() == BODY
    assert inner == [BODY]
    assert names(tmp_path) == ["w.pth"]


@pytest.mark.quick
def test_fetch_zipped(server: str, tmp_path: Path) -> None:
    target, buffer = tmp_path / "w.params", io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("models/w-1234.params", BODY)
        archive.writestr("README", b"x")
    Handler.files["w.zip"] = buffer.getvalue()
    assert fetch_zipped(server + "w.zip?cut", target, sha1=SHA1).read_bytes() == BODY
    assert names(tmp_path) == ["w.params"]
    target.unlink()
    fails(server + "w.zip", target, SHA1, WRONG, using=fetch_zipped, sha1=WRONG + WRONG + WRONG[:8])
    Handler.files["w.zip"] = buffer.getvalue()[:-100]
    fails(server + "w.zip", target, "archive is damaged", using=fetch_zipped)
    assert names(tmp_path) == []
