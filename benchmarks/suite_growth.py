"""Peak memory, how cost grows, and what starting costs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import vizkit
from benchmarks import suite_cases
from vizkit import images

NETWORK = "googlenet"
IMPORTS = ("import numpy", "import vizkit", "import torch", "import torch, torchvision", "import captum.attr")


def memory(backend: str, of: str, who: str, at: int) -> list[dict[str, Any]]:
    """Peak resident memory of a process that does one thing; ``at`` are its samples."""
    picture = images.noise(0, 255, size=suite_cases.SIZE, seed=1)
    model = vizkit.load(NETWORK, backend=backend, weights="random:7", optimise=who != "vizkit plain")
    if who == "captum":
        given = suite_cases.setting(backend, NETWORK, 1)
        suite_cases.peers.captum_saliency(given.plain.native, given.there, given.index)()
    elif of == "saliency":
        vizkit.saliency(model, picture, fit="squash")
    elif of == "smoothgrad":
        vizkit.smoothgrad(model, picture, samples=at, fit="squash")
    elif of == "feature_maps":
        model.forward(model.ops.asarray(images.prepare(picture, model.spec, fit="squash").tensor), tuple(model.layers))
    peak = peak_memory()
    return [{"what": "memory", "backend": backend, "model": NETWORK, "of": of, "at": at, "who": who, "peak_MiB": peak}]


def peak_memory() -> float:
    """MiB. Not ``ru_maxrss``, in which a process starts with its parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def growth(backend: str, of: str, rounds: int) -> list[dict[str, Any]]:
    """Processor time by batch size, image size, samples of SmoothGrad, and number of captured layers."""
    rows = []
    for who in ("vizkit", "vizkit plain"):
        model = vizkit.load(NETWORK, backend=backend, weights="random:7", optimise=who == "vizkit")
        for at in POINTS[of]:
            run = STEPS[of](model, at)
            run()
            seconds = [clock(run, time.process_time) for _ in range(rounds)]
            row = {"what": "growth", "backend": backend, "model": NETWORK, "of": of, "at": at, "who": who}
            rows.append(row | {"median_ms": 1000 * statistics.median(seconds)})
    return rows


def clock(run: Callable[[], Any], now: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call."""
    start = now()
    run()
    return now() - start


def gradient(model: Any, batch: int, size: int) -> Callable[[], Any]:
    """The gradient of one logit at noise."""
    x = np.random.default_rng(0).normal(size=(batch, 3, size, size))

    def run() -> Any:
        leaves = {"x": model.ops.asarray(x)}
        done = model.ops.value_and_grad(lambda given: (model.forward(given["x"])["output"][:, 3], None), leaves)
        return model.ops.numpy(done[1]["x"])

    return run


def captured(model: Any, count: int) -> Callable[[], Any]:
    """A forward pass that keeps so many layers, spread over the network, and always the last."""
    names = list(model.layers)
    chosen = tuple(names[int(i)] for i in np.linspace(len(names) - 1, 0, min(count, len(names))))
    x = np.random.default_rng(0).normal(size=(1, 3, suite_cases.SIZE, suite_cases.SIZE))
    return lambda: model.ops.numpy(model.forward(model.ops.asarray(x), chosen)[chosen[0]])


def smooth(model: Any, samples: int) -> Callable[[], Any]:
    """SmoothGrad with so many samples."""
    picture = images.noise(0, 255, size=suite_cases.SIZE, seed=1)
    return lambda: vizkit.smoothgrad(model, picture, target=3, samples=samples, fit="squash")


POINTS = {
    "batch": (1, 2, 4, 8, 16),
    "size": (112, 168, 224, 320),
    "samples": (5, 10, 25, 50),
    "layers": (1, 10, 50, 500),
}
STEPS: dict[str, Callable[[Any, int], Callable[[], Any]]] = {
    "batch": lambda model, at: gradient(model, at, suite_cases.SIZE), "size": lambda model, at: gradient(model, 1, at),
    "samples": smooth, "layers": captured,
}  # fmt: skip


def startup(rounds: int) -> list[dict[str, Any]]:
    """Seconds until Python has imported something, or loaded a network, in fresh processes."""
    load = "import vizkit; vizkit.load('googlenet', backend={!r}, weights='random:7')"
    rows = []
    for code in (*IMPORTS, *(load.format(backend) for backend in ("torch", "gluon"))):
        seconds = [clock(lambda code=code: subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False))
                   for _ in range(rounds)]  # fmt: skip
        rows.append({"what": "startup", "of": code, "median_ms": 1000 * statistics.median(seconds)})
    return rows


def _memory_tasks(rounds: int) -> list[dict[str, Any]]:
    found = []
    for backend in ("torch", "gluon"):
        for who in ("vizkit", "vizkit plain", *(["captum"] if backend == "torch" else [])):
            wanted = (
                [("saliency", 1)] if who == "captum" else [("saliency", 1), ("feature_maps", 1), ("smoothgrad", 25)]
            )
            found += [{"what": "memory", "backend": backend, "of": of, "who": who, "at": at} for of, at in wanted]
        found.append({"what": "memory", "backend": backend, "of": "smoothgrad", "who": "vizkit", "at": 1000})
    return found


TASKS: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    "startup": lambda rounds: [{"what": "startup", "rounds": rounds}],
    "growth": lambda rounds: [
        {"what": "growth", "backend": backend, "of": of, "rounds": max(2, rounds // 2)}
        for backend in ("torch", "gluon") for of in POINTS
    ],
    "memory": _memory_tasks,
}  # fmt: skip
