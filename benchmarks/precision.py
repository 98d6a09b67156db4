"""bfloat16 against float32 in PyTorch: how much faster, and how far off, technique by technique.

    python -m benchmarks.precision --threads 2 --squeezenet FILE --out benchmarks/results/precision.json

FILE has SqueezeNet 1.0's ImageNet weights; without it that network is left out. The pictures are crops of the bundled
photo; the target is float32's top-1 for both.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

import vizkit
from benchmarks.agreement import crops
from benchmarks.timing import WARM, apart, paired, write

ROUNDS = 5
CROPS = 3
NETWORKS = ("vgg19", "resnet152", "googlenet")
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "gradcam": (vizkit.gradcam, {}),
    "scorecam": (vizkit.scorecam, {}),
    "rise": (vizkit.rise, {"samples": 100}),
    "guided_backprop": (vizkit.guided_backprop, {}),
    "saliency": (vizkit.saliency, {}),
    "smoothgrad": (vizkit.smoothgrad, {}),
    "integrated_gradients": (vizkit.integrated_gradients, {}),
}
HEAVY = ("scorecam", "rise", "smoothgrad", "integrated_gradients")


def measure(name: str, weights: str, what: str) -> dict[str, Any]:
    """One row."""
    call, options = CALLS[what]
    full, low = (vizkit.load(name, backend="torch", weights=weights, dtype=dtype) for dtype in ("float32", "bfloat16"))
    off = []
    for crop in crops()[:CROPS]:
        target = full.predict(crop, top=1)[0].index
        wanted, found = (call(model, crop, target=target, **options).values for model in (full, low))
        off.append(apart(found, wanted))
    contestants = {
        dtype: lambda model=model: call(model, crop, target=target, **options)
        for dtype, model in (("bfloat16", low), ("float32", full))
    }
    timings = paired("bfloat16", contestants, 3 if what in HEAVY else ROUNDS, warmup=0 if what in HEAVY else WARM)
    ratios = timings["float32"].ratios
    return {
        "model": name,
        "weights": weights if weights.startswith("random") else "ImageNet",
        "what": what,
        "relative_L2": off,
        "ahead": statistics.median(ratios),
        "ratios": ratios,
        "bfloat16_ms": 1000 * timings["bfloat16"].median,
    }


def main(threads: int = 2, squeezenet: Path | None = None, out: Path | None = None) -> None:
    """Measure, print, and write JSON."""
    vizkit.set_threads(threads)
    vizkit.keep_memory()
    networks = [(name, "random:7") for name in NETWORKS]
    if squeezenet is not None:
        networks.insert(0, ("squeezenet1_0", str(squeezenet)))
    rows = []
    for name, weights in networks:
        for what in CALLS:
            if what == "scorecam" and name in ("vgg19", "resnet152"):
                continue  # as many passes as channels: minutes
            rows.append(measure(name, weights, what))
            typer.echo(json.dumps(rows[-1]))
    write(out, {"threads": threads, "load": os.getloadavg()[0], "rows": rows})


if __name__ == "__main__":
    typer.run(main)
