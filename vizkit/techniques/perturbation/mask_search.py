"""The ascent of extremal perturbations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...contract.backend import OUTPUT, Array, Leaves, Step, Tensor
from ...inputs import targets
from ...support import batching
from ...support.progress import steps_bar
from ..common.job import Job
from .smooth_masks import SmoothMasks, brightest, let_through, levels

VARIANTS = ("preserve", "delete")
MOMENTUM = 0.9
RATE = 8.0 / 32**2
"""The rates of all steps together, for each cell: the more there are, the less each changes the mask."""
WEIGHT = 300.0
"""Of the area at the first step."""
GROWTH = 16.36
"""How many times that it is at the end: 1.0035 to the power of the authors' 800."""


class MaskSearch:
    """Finds masks of given areas, several at a time, each by itself. What differs from step to step lies on the device:
    the cells, their velocity and the weight of the area."""

    def __init__(self, job: Job, cell: int, sigma: float, variant: str, jitter: bool, steps: int) -> None:
        self.job = job
        self.ops = job.model.ops
        self.masks = SmoothMasks(self.ops, job.model.spec.size, cell, sigma)
        self.sign = 1.0 if variant == "preserve" else -1.0
        self.steps = steps
        self.marks = targets.marks(job.model, job.table, job.settled)
        mirrored = [True, False] if jitter else [False, False]
        self._climbs: list[Step] = [job.model.recorded(self._climb(one)) for one in mirrored]

    def __call__(
        self, which: Array, areas: Array, pictures: list[Array], advance: Callable[[int], None]
    ) -> tuple[Array, Array]:
        """Masks (B, H, W) of these areas (B,) for the images with these numbers, of which ``pictures`` are the levels
        (B, C, H, W), and the scores (B,) under them."""
        ops = self.ops
        shape = (len(which), 1, *self.masks.cells)
        given = {f"level {k}": ops.asarray(one) for k, one in enumerate(pictures)}
        given |= {"marks": ops.asarray(self.marks[which]), "areas": ops.asarray(areas.reshape(-1, 1, 1, 1))}
        state = {"cells": ops.zeros(shape) + 1.0, "velocity": ops.zeros(shape), "weight": ops.zeros((1,)) + WEIGHT}
        for t in range(self.steps):
            state = self._climbs[t % 2]({**given, **state})
            ops.wait(state["cells"])
            advance(t + 1)
        masks = self.masks(state["cells"])
        scores = self.score({**given, "masks": masks})
        return ops.numpy(masks)[:, 0].astype(np.float64), ops.numpy(scores).astype(np.float64)

    def every(self, areas: Sequence[float], baseline: str) -> tuple[Array, Array]:
        """Masks (N, A, H, W) of each of these areas for every image, and the scores (N, A) under them."""
        job = self.job
        total = len(job) * len(areas)
        with steps_bar(job.technique, total * self.steps) as advance:

            def seek(start: int, stop: int) -> tuple[Array, Array]:
                which, area = np.divmod(np.arange(start, stop), len(areas))
                pictures = levels(baseline, job.batch.part(which.tolist()), job.model.spec)
                done = lambda t: advance(start * self.steps + t * (stop - start), "")  # noqa: E731
                return self(which, np.array(areas)[area], pictures, done)

            found = batching.collected(job.model, total, job.batch_size, seek, job.technique)
        masks, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return masks.reshape(*(len(job), len(areas)), *job.model.spec.size), scores.reshape(len(job), len(areas))

    def score(self, given: Leaves, mirrored: bool = False) -> Tensor:
        """The targets' scores (B,) under masks (B, 1, H, W)."""
        ops, job, masks = self.ops, self.job, given["masks"]
        levels = [given[f"level {k}"] for k in range(sum(name.startswith("level") for name in given))]
        x = let_through(ops, masks if self.sign > 0 else 1.0 - masks, levels)
        if mirrored:
            x = ops.along(x, columns=ops.constant(_mirror, x.shape[3]))
        return targets.score(ops, job.table, job.table(ops, job.model.forward(x)[OUTPUT]), given["marks"])

    def energy(self, given: Leaves, mirrored: bool = False) -> Tensor:
        """What is maximised (B,), for cells (B, 1, h, w) and a weight (1,) of the area."""
        ops, canvas = self.ops, self.masks.canvas(given["cells"])
        wanted = brightest(ops, ops.detach(canvas), self.masks.share * given["areas"])
        off = ops.mean((canvas - wanted) ** 2, (1, 2, 3))
        score = self.score({**given, "masks": self.masks.inside(canvas)}, mirrored)
        return self.sign * score - given["weight"] * off

    def _climb(self, mirrored: bool) -> Step:
        rate, growth = RATE * math.prod(self.masks.cells) / self.steps, GROWTH ** (1 / self.steps)

        def step(given: Leaves) -> Leaves:
            ops = self.ops
            _, gradient, _ = ops.value_and_grad(
                lambda leaves: (self.energy({**given, **leaves}, mirrored), None), {"cells": given["cells"]}
            )
            velocity = MOMENTUM * given["velocity"] + (1.0 - MOMENTUM) * gradient["cells"]
            cells = ops.minimum(ops.maximum(given["cells"] + rate * velocity, 0.0), 1.0)
            return {"cells": cells, "velocity": velocity, "weight": growth * given["weight"]}

        return step


def _mirror(side: int) -> Array:
    return np.eye(side)[::-1]
