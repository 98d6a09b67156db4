"""Memory that a process keeps."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vizkit
from vizkit.support import memory

CODE = """
import resource
import numpy as np
import vizkit

def passes():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        activations = [np.ones(250_000) for _ in range(40)]
        del activations
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

passes()
before = passes()
kept = vizkit.keep_memory()
passes()
print(kept, before, passes())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's setting")
def test_what_is_kept_need_not_be_asked_for_again() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    kept, before, after = done.stdout.split()
    if kept == "False":
        pytest.skip("this C library has no such setting")
    assert int(after) < int(before) / 10, "pages that 5 passes asked the system for, without and with it"


@pytest.mark.quick
def test_elsewhere_it_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert not vizkit.keep_memory()


@pytest.mark.quick
def test_kept_memory_is_given_back_each_time_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Percent of what the process held at first, and whether it gives back then."""
    trims: list[int] = []
    monkeypatch.setattr(memory, "_keeps", True)
    monkeypatch.setattr(memory, "_of_glibc", lambda _: trims.append)
    unused = memory.Scattered()
    found = []
    for held in (100, 112, 117, 117, 130, 136, 136):
        monkeypatch.setattr(memory, "resident", lambda held=held: held)
        before = len(trims)
        unused.give_back()
        found.append(len(trims) > before)
    assert found == [False, False, True, False, False, True, False]


SCATTERED = """
import os
import sys
import numpy as np
import vizkit
from vizkit.support.memory import Scattered

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def freed():
    before = resident()
    unused.give_back()
    return before - resident()

def scattered(values):
    blocks = [np.ones(values) for _ in range(25_000_000 // values)]
    del blocks[::2]
    return blocks

kept = vizkit.keep_memory() if sys.argv[1] == "keep" else True
unused = Scattered()
first = scattered(8_000)
found = [freed(), freed()]
second = scattered(12_000)  # which do not fit into what is free
print(kept, *found, freed(), freed())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's function")
@pytest.mark.parametrize(("how", "freed"), [("plain", [95, 0, 95, 0]), ("keep", [0, 0, 190, 0])])
def test_what_lies_between_blocks_in_use_is_given_back(how: str, freed: list[float]) -> None:
    code = [sys.executable, "-c", SCATTERED, how]
    kept, *found = subprocess.run(code, capture_output=True, text=True, check=True).stdout.split()
    if kept == "False":
        pytest.skip("this C library has no such function")
    assert [float(one) for one in found] == pytest.approx(freed, abs=15), "MiB, at once or once the process has grown"
