"""Workers of a cluster, by Dask: its client, its retries, its dashboard."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Any

from ...contract.errors import SettingError
from . import working
from .sending import Hands

RETRIES = 2
"""Of a task that raises something else than an error of vizkit's, such as a file system that is away for a moment."""
PATIENCE = 60.0
"""Seconds that a cluster may be without any worker."""
ANSWER = "20s"


class Cluster(Hands):
    """The workers of a Dask scheduler. Dask tries a task anew whose worker died (``allowed-failures`` of its settings,
    3 times unless somebody said otherwise), and replaces the worker."""

    def __init__(self, networks: bytes, address: str) -> None:
        distributed: Any = importlib.import_module("distributed")
        self._address = address
        try:
            self._client: Any = distributed.Client(address, timeout=ANSWER, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SettingError(
                f"No Dask scheduler answers at {address!r} ({type(error).__name__}). Give its address as `dask "
                "scheduler` prints it, such as tcp://10.0.0.1:8786."
            ) from None
        self._seen = monotonic()
        self._executor = self._client.get_executor(pure=False, retries=RETRIES)
        # A task of its own, and no scattered data: the scheduler can have it made anew where a worker had it and died.
        self._networks = self._client.submit(bytes, networks, pure=False)
        self.size = max(1, self._workers())
        self.check()

    def _workers(self) -> int:
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def submit(self, function: bytes, task: bytes) -> Future[bytes]:
        return self._executor.submit(working.on_cluster, self._networks, function, task)  # type: ignore[no-any-return]

    def forget(self, tasks: Sequence[Future[bytes]]) -> None:
        """Do not begin them, if they have not begun."""
        for one in tasks:
            one.cancel()

    def check(self) -> None:
        """Raise SettingError where the scheduler is gone, or has had no worker for a while."""
        if self._client.status != "running":
            logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it would tell the same, with its stack
            raise SettingError(
                f"The Dask scheduler at {self._address} is gone. Start it, and call this again: what was finished is "
                "kept where the call keeps it."
            )
        found = self._workers()
        self.size = max(1, found)
        if found:
            self._seen = monotonic()
        elif monotonic() - self._seen > PATIENCE:
            raise SettingError(
                f"The Dask scheduler at {self._address} has no workers. Start some: dask worker {self._address}"
            )

    def gave_up(self, error: BaseException) -> bool:
        """Whether Dask has tried the task as often as its settings say."""
        return type(error).__name__ == "KilledWorker"

    def close(self) -> None:
        """Give up what is still on its way, and leave the cluster to others."""
        self._executor.shutdown(wait=False)
        self._client.close(timeout=2)
