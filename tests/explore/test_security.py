"""Who has not got the token, or comes from elsewhere, gets nothing; what is brought is looked at before it is read."""

from __future__ import annotations

import io
import json
import socket
import zlib
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import vizkit
from vizkit.errors import BackendMissingError, ImageError, SettingError
from vizkit.explore import guard

httpx = pytest.importorskip("httpx", reason="asks the server")


@pytest.fixture(scope="module")
def origin(explorer: Any) -> str:
    parts = urlsplit(explorer.url)
    return f"{parts.scheme}://{parts.netloc}"


@pytest.fixture(scope="module")
def client(explorer: Any, origin: str) -> Any:
    with httpx.Client(base_url=explorer.url, headers={"Origin": origin}, timeout=60) as made:
        yield made


def png(width: int = 40, height: int = 30) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 200, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.quick
@pytest.mark.parametrize("path", ["/", "/api/session", "/wrong/api/session", "/{token}", "/{short}/", "//{token}/"])
def test_without_the_token_there_is_nothing(explorer: Any, origin: str, path: str) -> None:
    token = urlsplit(explorer.url).path.strip("/")
    found = httpx.get(origin + path.format(token=token, short=token[:-1]))
    assert found.status_code == 404
    assert "session" not in found.text
    assert len(token) >= 32


@pytest.mark.quick
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "localhost", "127.0.0.1:1", "", "localhost.evil:{port}"]
)
def test_a_foreign_name_that_points_here_gets_nothing(client: Any, host: str) -> None:
    port = str(client.base_url.port)
    found = client.get("api/session", headers={"Host": host.format(port=port), "Origin": ""})
    assert found.status_code in (400, 421)
    assert client.get("static/index.html", headers={"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"})


def test_two_hosts_are_none(explorer: Any, origin: str) -> None:
    parts = urlsplit(explorer.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as raw:
        raw.sendall(
            f"GET {parts.path}api/labels HTTP/1.1\r\nHost: {parts.netloc}\r\nHost: {parts.netloc}\r\n\r\n".encode()
        )
        assert raw.recv(100).split()[1] in (b"400", b"421")


@pytest.mark.quick
@pytest.mark.parametrize("other", ["http://evil.example", "null", "https://127.0.0.1", "http://localhost"])
def test_another_page_may_not_ask(client: Any, other: str) -> None:
    assert client.get("api/labels", headers={"Origin": other}).status_code == 403
    assert client.post("api/pictures", content=png(), headers={"Origin": other}).status_code == 403


def test_what_changes_something_must_say_where_it_comes_from(explorer: Any, client: Any) -> None:
    for method, path in (("POST", "api/pictures"), ("POST", "api/jobs"), ("DELETE", "api/jobs/x")):
        assert httpx.request(method, explorer.url + path, content=png()).status_code == 403
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("api/pictures", content=png(), headers=cross).status_code == 403
    assert client.get("api/pictures", headers={"Origin": ""}).status_code == 403
    assert httpx.get(explorer.url + "api/pictures").status_code == 200


@pytest.mark.parametrize("path", ["", "static/app.js", "api/labels", "api/picture?picture=0", "api/nothing", "api/map"])
def test_every_answer_says_what_a_browser_may_do(client: Any, path: str) -> None:
    found = client.get(path)
    for name, value in guard.HEADERS.items():
        assert found.headers.get_list(name) == [value]
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "server" not in found.headers


@pytest.mark.parametrize(
    "name",
    ["../engine.py", "..%2Fengine.py", "%2e%2e/engine.py", "/etc/passwd", "%2Fetc%2Fpasswd", "x.js", "..%5Cengine.py"],
)
def test_no_file_but_the_pages_own_is_opened(client: Any, name: str) -> None:
    assert client.get(f"static/{name}").status_code == 404
    assert client.get("api/picture", params={"picture": name}).status_code == 400


def test_paths_of_the_interpreter_are_not_told(client: Any) -> None:
    for path in (
        "docs",
        "openapi.json",
        "redoc",
        "api/maps?picture=0&layer=%00",
        "api/map?picture=0&layer=features.0&unit=999",
    ):
        found = client.get(path)
        assert found.status_code in (400, 404)
        assert "Traceback" not in found.text
        assert "/" not in found.text or "vizkit layers" in found.text


@pytest.mark.quick
def test_what_is_no_picture_is_refused(client: Any) -> None:
    for data in (
        b"",
        b"GIF89a",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        png()[:60],
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
    ):
        found = client.post("api/pictures", content=data)
        assert found.status_code == 400, data[:20]
        assert found.json()["error"]


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("sides", [(9000, 9000), (30_000, 30_000), (2**31 - 1, 1)])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(client: Any, sides: tuple[int, int]) -> None:
    found = client.post("api/pictures", content=bomb(*sides))
    assert found.status_code == 400
    assert "pixels" in found.json()["error"] or "refused" in found.json()["error"]


def test_too_many_bytes_are_refused_while_they_come(client: Any) -> None:
    sent = []

    def parts() -> Any:
        for _ in range(64):
            sent.append(1)
            yield bytes(1 << 20)

    # Or the server has hung up, which is an answer, too.
    with suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        assert client.post("api/pictures", content=parts()).status_code == 413
    assert len(sent) < 64
    assert client.post("api/jobs", content=b"[" * (1 << 17)).status_code == 413


def test_a_name_is_text_and_short(client: Any) -> None:
    name = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%0A%00" + "x" * 500
    found = client.post("api/pictures", content=png(), headers={"X-Name": name}).json()
    assert found["name"].startswith("<script>alert(1)</script>x")
    assert len(found["name"]) <= 120


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"7", b'{"kind": "nope"}', b"[" * 60_000, b'{"kind": "explain", "picture": "0", "methods": []}',
        json.dumps({"kind": "explain", "picture": "0", "methods": ["load"]}).encode(),
        json.dumps({"kind": "explain", "picture": "0", "methods": [["saliency"]]}).encode(),
        json.dumps({"kind": "dream", "layer": "features.9", "unit": 1, "steps": 10**6}).encode(),
        json.dumps({"kind": "dream", "layer": "features.9", "unit": 99}).encode(),
        json.dumps({"kind": "patches", "layer": "features.9", "unit": -1}).encode(),
    ],
)  # fmt: skip
def test_a_job_that_is_none_is_refused(client: Any, body: bytes) -> None:
    found = client.post("api/jobs", content=body)
    assert found.status_code in (400, 404)
    assert found.json()["error"]


def test_others_connect_only_where_that_was_said() -> None:
    model = vizkit.load("shapes")
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(SettingError, match="others_can_connect"):
            vizkit.explore(model, host=host, browser=False)
    with pytest.raises(SettingError, match="cannot listen"):
        vizkit.explore(model, host="192.0.2.1", others_can_connect=True, browser=False)


def test_where_others_may_connect_only_addresses_are_hosts() -> None:
    door = guard.Guard(None, "token", "0.0.0.0", 80)  # type: ignore[arg-type]
    assert door._own("192.0.2.7:80")
    assert not door._own("evil.example:80")


def test_what_is_missing_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "starlette", None)
    with pytest.raises(BackendMissingError, match=r"vizkit\[explore\]"):
        vizkit.explore(vizkit.load("shapes"), browser=False)


@pytest.mark.quick
def test_bytes_are_read_as_the_file_would_be() -> None:
    data = vizkit.images.sample().read_bytes()
    ours, true = vizkit.images.read(data), vizkit.images.read(vizkit.images.sample())
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(true))
    with pytest.raises(ImageError, match="not an image that Pillow can read"):
        vizkit.images.read(b"nothing")
