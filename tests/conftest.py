"""Fixtures: every installed backend, the optional real weights and photos, and one thread count for all."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes share the processors; threads would wait for each other

import numpy as np
import pytest

import vizkit
from vizkit import backend as contract

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
import kits
from kits import kit as kit_of

pytest_plugins = ["kits.explorer"]

SHARED = Path(__file__).resolve().parents[2] / "shared"
INSTALLED = [info.name for info in vizkit.backends() if info.installed]
BOTH = {"torch", "gluon"} <= set(INSTALLED)
exercised: set[str] = set()


def both() -> pytest.MarkDecorator:
    """Skip a comparison of the two backends where one of them is not installed."""
    return pytest.mark.skipif(not BOTH, reason=f"compares both backends; installed here: {INSTALLED}")


@pytest.fixture(params=INSTALLED)
def name(request: pytest.FixtureRequest) -> str:
    """Each installed backend's name."""
    exercised.add(request.param)
    return str(request.param)


@pytest.fixture
def kit(name: str) -> Any:
    """The small networks of that backend."""
    contract.get(name)
    return kit_of(name)


def shared_file(path: str) -> Path:
    """A file beside the project that is not part of it; skips where it is absent."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"needs {path} of the shared folder beside the project, which is not here")
    return found


@pytest.fixture
def photos() -> list[Path]:
    """The two real photos."""
    return [shared_file("images/king_snake.png"), shared_file("images/cat_dog.png")]


@pytest.fixture
def squeezenet_weights() -> Path:
    """SqueezeNet's real ImageNet weights."""
    return shared_file("weights/squeezenet1_0-imagenet.safetensors")


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every test."""
    return np.random.default_rng(12345)


@pytest.fixture
def agree(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Asserts that two arrays differ by less than a share of the largest value; the report gets the figure."""

    def check(
        method: str, oracle: str, ours: Any, theirs: Any, tolerance: float = 1e-8, backend: str = "torch"
    ) -> None:
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert ours.shape == theirs.shape
        assert np.ptp(theirs) > 0, "the oracle's map is flat, which proves nothing"
        size = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        record_property("attribution", {"method": method, "backend": backend, "oracle": oracle, "max": size})
        print(f"ATTRIBUTION | {method} | {backend} | {oracle} | max {size:.1e}")
        assert size <= tolerance

    return check


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """`vizkit ARGUMENTS` within this process, for speed: exit code, output, error stream."""
    from vizkit import cli

    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    out, err = capsys.readouterr()
    return int(stopped.value.code or 0), out, err


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where PyTorch's networks of the suite are, for example cuda")
    parser.addoption("--oracles", metavar="FILE", help="write every method's deviation from its oracle as JSON")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """As many processes as there are processors, and as memory allows: a full-size network takes 6 GiB."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return max(1, min(processors, (memory >> 30) // 6 or 2))


def pytest_configure(config: pytest.Config) -> None:
    """All that vizkit loads or wraps in PyTorch goes to the device; what tests compute by other means stays here.
    Tables are as wide as they are, not as the terminal is from which the tests were started."""
    os.environ.pop("COLUMNS", None)
    kits.DEVICE = config.getoption("--device")
    if kits.DEVICE == "cpu" or "torch" not in INSTALLED:
        return
    import vizkit_torch

    own = vizkit_torch.TorchBackend
    load, wrap = own.load, own.wrap

    def loaded(self: Any, name: str, weights: str, device: str, dtype: str) -> Any:
        return load(self, name, weights, kits.DEVICE if device == "cpu" else device, dtype)

    def wrapped(self: Any, native: Any, *args: Any) -> Any:
        move = getattr(native, "to", None)
        return wrap(self, native if move is None else move(kits.DEVICE), *args)

    own.load, own.wrap = loaded, wrapped  # type: ignore[method-assign]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of the full-size networks are begun first: begun last, they would run beside nothing. The others are mixed,
    so that those which wait for a browser run beside those which compute. What is about the CPU is not run
    elsewhere."""
    long = {item.path for item in items if item.get_closest_marker("full_size")}
    items.sort(key=lambda item: (item.path not in long, crc32(item.nodeid.partition("::")[0].encode())))
    if kits.DEVICE != "cpu":
        for item in items:
            if item.get_closest_marker("cpu"):
                item.add_marker(pytest.mark.skip(reason="is about the CPU"))


deviations: list[dict[str, Any]] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect what tests of passing oracles recorded under "attribution"."""
    if report.when == "call" and report.passed:
        deviations.extend(value for key, value in report.user_properties if key == "attribution")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the collected deviations where they were asked for."""
    target = session.config.getoption("--oracles")
    if target:
        Path(target).write_text(json.dumps(deviations, indent=1) + "\n", encoding="utf-8")
