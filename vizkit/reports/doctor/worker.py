"""One backend, examined in a process of its own: what is broken there, or writes where it should not, ends there."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...contract import backend as contract
from ...contract.errors import VizkitError
from .examine import examine
from .result import Check, Examination


def main(arguments: Sequence[str]) -> None:
    """``worker ORDER``, a JSON object {backend, devices, dtype, seed, threads}: prints a JSON list of examinations."""
    order = json.loads(arguments[0])
    print(json.dumps([asdict(one) for one in examinations(**order)]))


def examinations(
    backend: str, devices: Sequence[str] | None, dtype: str, seed: int, threads: int | None
) -> list[Examination]:
    """One for each device; what cannot be examined carries its error."""
    if threads is not None:
        contract.set_threads(threads)
    try:
        started = contract.get(backend)
        known = list(devices or started.devices())
    except VizkitError as error:
        return [Examination(backend, "", error=str(error))]
    found = []
    for device in known:
        try:
            found.append(examine(started, device, dtype, seed))
        except VizkitError as error:
            found.append(Examination(backend, device, started.versions(), started.threads(), error=str(error)))
    return found


def restored(raw: dict[str, Any]) -> Examination:
    """What :func:`main` printed of one examination."""
    return Examination(**{**raw, "checks": tuple(Check(**check) for check in raw["checks"])})


if __name__ == "__main__":
    main(sys.argv[1:])
