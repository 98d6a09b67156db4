"""How far the two backends' saliency maps are apart in float32, prepared and plain, on crops of the bundled photo.

    python -m benchmarks.agreement --out benchmarks/results/agreement.json

Where two values all but tie, rounding sends a gradient down another path (1e-3 and more); so it is a matter of
pictures, and of how alike the frameworks round, and is counted.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import typer
from PIL import Image

import vizkit
from benchmarks.timing import apart, write
from vizkit import images

CROPS = 12
ALIKE = 2e-6
"""Relative L2 of two maps whose gradients took the same path."""


def crops() -> list[np.ndarray]:
    """Squares of a half to nine tenths of the photo, drawn from a fixed seed."""
    rng, photo = np.random.default_rng(3), np.asarray(Image.open(images.sample()).convert("RGB"))
    found = []
    for _ in range(CROPS):
        side = int(min(photo.shape[:2]) * rng.uniform(0.5, 0.9))
        top, left = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
        found.append(photo[top : top + side, left : left + side])
    return found


def measure(name: str, optimise: bool) -> dict[str, object]:
    """One row."""
    ours, other = (vizkit.load(name, backend=one, weights="random:7", optimise=optimise) for one in ("torch", "gluon"))
    found = []
    for crop in crops():
        first = vizkit.saliency(ours, crop)
        second = vizkit.saliency(other, crop, target=first.targets[0])
        found.append(apart(second.values, first.values))
    return {"model": name, "prepared": optimise, "relative_L2": found}


def main(out: Path | None = None) -> None:
    """Measure, print, and write JSON."""
    rows = []
    for name in ("vgg19", "googlenet", "resnet152"):
        for optimise in (True, False):
            rows.append(measure(name, optimise))
            typer.echo(json.dumps(rows[-1]))
    write(out, {"rows": rows})


if __name__ == "__main__":
    typer.run(main)
