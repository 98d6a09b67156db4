"""Studies whose cells are computed in the tests' own process, where the frameworks are loaded already; the tests of
workers run real processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vizkit.reports.compare import run, worker


class Served:
    """Stands for the process of a group of cells, and serves its request in this one."""

    returncode = 0

    def __init__(self, plan: Any, group: Any, folder: Path, said: Any) -> None:
        events: list[str] = []
        request = json.loads(json.dumps(run.request(plan, group, folder)))  # as the process reads it
        worker.serve(request, lambda **event: events.append(json.dumps(event)))
        self.stdout = events

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    wait = kill = __exit__


def here(patch: pytest.MonkeyPatch) -> None:
    """No processes from now on; the thread count of this one stays as it is."""
    patch.setattr(run, "_start", Served)
    patch.setattr(worker, "set_threads", lambda count: None)
