"""What stands between the explorer and everybody who is not its user."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

LOCAL = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
READING = ("GET", "HEAD")


class Guard:
    """Lets through who knows the token and comes from the explorer's own page. The browser's Host must be the address
    that the server is bound to, or any of this machine's own, so that a foreign name that is made to point here (DNS
    rebinding) gets nothing; a request that changes something must say that it comes from here."""

    def __init__(self, inner: Application, token: str, host: str, port: int) -> None:
        self._inner, self._token, self._host, self._port = inner, token, host, port

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        status = self._refused(scope["method"], headers)
        path = scope["path"].encode("utf-8", "replace")
        start = f"/{self._token}/".encode()
        if status == 0 and not hmac.compare_digest(path[: len(start)], start):
            status = 404
        if status:
            await _plain(send, status)
            return
        inner = {**scope, "path": "/" + path[len(start) :].decode("utf-8", "replace"), "root_path": ""}
        inner["raw_path"] = inner["path"].encode()

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message.get("headers", []) if name.decode() not in HEADERS]
                message = {**message, "headers": [*kept, *_encoded()]}
            await send(message)

        await self._inner(inner, receive, guarded)

    def _refused(self, method: str, headers: dict[str, list[str]]) -> int:
        """A status, or 0 for a request that may pass."""
        hosts, origins = headers.get("host", []), headers.get("origin", [])
        if len(hosts) != 1 or not self._own(hosts[0].lower()):
            return 421
        if any(one.lower() != f"http://{hosts[0].lower()}" for one in origins):
            return 403
        if method not in READING and len(origins) != 1:
            return 403
        if (
            any(one not in ("same-origin", "none") for one in headers.get("sec-fetch-site", []))
            and method not in READING
        ):
            return 403
        return 0

    def _own(self, given: str) -> bool:
        name, colon, port = given.rpartition(":")
        if not colon or port != str(self._port):
            return False
        if name in LOCAL or name == self._host or name == f"[{self._host}]":
            return True
        return self._host in ("0.0.0.0", "::") and _address(name.strip("[]"))


def _address(name: str) -> bool:
    """Whether it is an address and no name: nobody can make an address point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _encoded() -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in HEADERS.items()]


async def _plain(send: Send, status: int) -> None:
    """The same few words to everybody, so that nothing is learned from them."""
    body = b'{"error": "Not found, or not for you: open the address that vizkit explore printed."}'
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *_encoded()]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
