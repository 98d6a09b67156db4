"""Starting the explorer, from Python and for the command line."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..contract.backend import Model
from ..contract.errors import BackendMissingError, SettingError
from ..inputs.folders import Pictures
from ..inputs.images import ImageInput
from ..support.packages import needed

if TYPE_CHECKING:
    from .jobs import Jobs
    from .worker import Worker

WAITING = 1024
"""Connections that may wait to be accepted."""
LOCAL = ("127.0.0.1", "localhost", "::1")


class Explorer:
    """A running explorer: ``url`` is its address, with the token that lets in. Ends with :meth:`close`, at the end of a
    ``with`` block, or with Python."""

    def __init__(self, url: str, server: Any, bound: socket.socket, worker: Worker, jobs: Jobs) -> None:
        self.url = url
        self._server, self._worker, self._jobs = server, worker, jobs
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(bound,), name="vizkit-explore-server", daemon=True)
        self._thread.start()

    def _serve(self, bound: socket.socket) -> None:
        try:
            self._server.run([bound])
        finally:
            self._ended.set()

    def wait(self) -> None:
        """Return when the explorer has ended, or raise KeyboardInterrupt."""
        while not self._ended.wait(0.5):  # an event: a thread that is joined takes a KeyboardInterrupt ill
            pass

    def close(self) -> None:
        """End it: jobs before their next step, then the server and its threads."""
        self._server.should_exit = True
        self._jobs.close()
        self._worker.close()
        if self._ended.wait(10):
            self._thread.join()

    def __enter__(self) -> Explorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<vizkit explorer at {self.url}>"

    def _repr_html_(self) -> str:
        return f'<a href="{self.url}" target="_blank" rel="noopener">{self.url}</a>'


def explore(
    models: Model | Sequence[Model],
    images: Pictures | ImageInput | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    others_can_connect: bool = False,
    browser: bool = True,
) -> Explorer:
    """Look into a network live, in a browser: its diagram, the maps of every layer, what a unit sees and by which sum,
    explanations side by side, and what changes when units are switched off.

    A server begins in the background, on this machine alone; its address holds a random token, without which it answers
    nothing. All computing is done in one thread of its own, and what is shown is of the weights as they are. Techniques
    may use the network meanwhile, each pass in turn; a training loop of yours may not, while somebody looks.

    Args:
        models: a network, or the same one in several backends, which are shown beside each other.
        images: a folder, pictures, or whatever :func:`vizkit.folders.collect` takes, to be looked at beside the bundled
            one; those that users bring come to them.
        host: the address that the server listens at. Another than this machine's own lets others look, too, for which
            ``others_can_connect=True`` must be said.
        port: 0 takes a free one.
        browser: open the address in the system's browser.

    Returns:
        :class:`Explorer`; its ``close()`` ends it.

    Raises:
        BackendMissingError where Starlette and Uvicorn are not installed, SettingError for networks that cannot be
        shown beside each other, or an address that cannot be had.

    Example:
        >>> import vizkit
        >>> with vizkit.explore(vizkit.load("shapes"), browser=False) as running:
        ...     running.url.startswith("http://127.0.0.1:")
        True
    """
    for package in ("starlette", "uvicorn"):
        uvicorn = needed(package, f"vizkit.explore needs {package}", "vizkit[explore]", BackendMissingError)
    if host not in LOCAL and not others_can_connect:
        raise SettingError(
            f"host={host!r}: others could connect to this machine, bring pictures and have them computed. Say "
            "others_can_connect=True (--yes-others-can-connect) if they may."
        )
    from .application import application
    from .engine import Engine
    from .guard import Guard
    from .jobs import Jobs
    from .worker import Worker

    engine = Engine(models, images)
    bound = _bound(host, port)
    address, number = bound.getsockname()[:2]
    token = secrets.token_urlsafe(24)
    worker = Worker()
    jobs = Jobs(engine, worker)
    guarded = Guard(application(engine, worker, jobs), token, address, number)
    config = uvicorn.Config(
        guarded, log_level="error", access_log=False, server_header=False, date_header=False, ws="none", lifespan="off",
        timeout_graceful_shutdown=2, timeout_keep_alive=5, backlog=WAITING, proxy_headers=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    running = Explorer(_url(address, number, token), server, bound, worker, jobs)
    worker.submit(lambda: engine.session)
    if browser:
        threading.Thread(target=webbrowser.open, args=(running.url,), daemon=True).start()
    return running


def _url(address: str, port: int, token: str) -> str:
    """Where a browser on this machine finds it."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/{token}/"


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(WAITING)  # before anybody is told the address: who comes early waits
    except (OSError, OverflowError) as error:
        raise SettingError(f"host={host!r}, port={port}: the server cannot listen there: {error}.") from None
    return bound
