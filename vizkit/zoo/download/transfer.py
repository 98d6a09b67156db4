"""One answer of a server into a part file, continued where the last one broke off.

Our own, since pooch and torch.hub begin anew after a broken connection, and a file of half a gigabyte breaks off.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable

from vizkit.contract.errors import WeightsError
from vizkit.zoo.download.part import Part

TIMEOUT = 30.0
"""Seconds without an answer before an attempt is given up."""
_CHUNK = 1 << 18
_WORTH_ANOTHER_TRY = {408, 425, 429}


class TransferError(Exception):
    """Why the file that was asked for could not be had, in plain words; ``final`` where trying again cannot help."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class Transfer:
    """Appends what ``url`` answers to ``part``, which may hold the beginning already.

    Proxies are those of the environment. A server that ignores the Range request and sends the whole file is obeyed.
    """

    def __init__(self, url: str, part: Part, progress: Callable[[int, int | None], None] | None) -> None:
        self._url = url
        self._part = part
        self._progress = progress
        self._opener = urllib.request.build_opener()  # urlopen's own would keep the first proxies it saw
        self._validator: str | None = None  # the server's version of the file whose bytes are in the part

    def run(self) -> None:
        """Fetch what is missing.

        Raises:
            TransferError: the server could not be reached, refused, or broke off; the bytes that came are kept.
            WeightsError: the part file cannot be written.
        """
        have = self._part.length()
        request = urllib.request.Request(self._url, headers={"User-Agent": "vizkit"})
        if have:
            request.add_header("Range", f"bytes={have}-")
            if self._validator:
                request.add_header("If-Range", self._validator)
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                self._validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
                self._receive(response, *self._start(response, have))
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error, have)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise TransferError(_reason(error)) from None

    def _start(self, response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
        """Where the answer's bytes belong, and the whole file's length where the server says it."""
        if response.status == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            if match and int(match[1]) == have:
                return have, None if match[2] == "*" else int(match[2])
            self._part.empty()
            raise TransferError("the server sent another range of bytes than it was asked for")
        self._part.empty()
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None

    def _receive(self, response: http.client.HTTPResponse, have: int, total: int | None) -> None:
        while chunk := response.read(_CHUNK):
            try:
                self._part.file.write(chunk)
                self._part.file.flush()
            except OSError as error:
                raise WeightsError(
                    f"'{self._part.path}' cannot be written: {error.strerror or error}. "
                    "Make room there, or give a file: --weights FILE."
                ) from None
            have += len(chunk)
            if self._progress:
                self._progress(have, total)
        if total is not None and have != total:
            raise TransferError(f"the connection broke off after {have} of {total} bytes")

    def _refused(self, error: urllib.error.HTTPError, have: int) -> None:
        """An answer that is an error; 416 for a part that is complete is none."""
        if error.code == 416 and have:
            if error.headers.get("Content-Range", "") == f"bytes */{have}":
                return
            self._part.empty()
            raise TransferError("the server has another file than the part that was there")
        final = 400 <= error.code < 500 and error.code not in _WORTH_ANOTHER_TRY
        raise TransferError(f"the server answered {error.code} ({error.reason})", final=final)


def _reason(error: BaseException) -> str:
    """An exception of the network in plain words."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        return _reason(error.reason)
    if isinstance(error, TimeoutError):
        return f"it timed out: no answer for {TIMEOUT:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, socket.gaierror):
        return "the host name was not found (is there a network?)"
    if isinstance(error, ssl.SSLError):
        return f"no secure connection ({error.reason or error})"
    if isinstance(error, (ConnectionError, http.client.IncompleteRead)):
        return "the connection broke off"
    return str(error) or type(error).__name__
