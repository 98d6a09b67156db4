"""Memory that a process keeps."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vizkit

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


def test_elsewhere_it_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert not vizkit.keep_memory()


SCATTERED = """
import os
import numpy as np
import vizkit
from vizkit.memory import give_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

kept = vizkit.keep_memory()
blocks = [np.ones(25_000) for _ in range(1000)]
del blocks[::2]
before = resident()
give_back()
print(kept, before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's function")
def test_what_lies_between_blocks_in_use_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCATTERED], capture_output=True, text=True, check=True)
    kept, freed = done.stdout.split()
    if kept == "False":
        pytest.skip("this C library has no such function")
    assert float(freed) > 80, "MiB of the 95 that lay free between others"
