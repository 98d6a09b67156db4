"""How the gradient at a layer changes along the layer's activations."""

from __future__ import annotations

import numpy as np

from ...contract.backend import OUTPUT, Array, Leaves, Ops, Tensor
from ...contract.grid import Grid
from ...inputs import targets
from ...inputs.outputs import Dense
from ...support import batching
from ..common.job import Job

STEP = {"float64": 1e-5}
"""By which part of themselves activations are changed; a larger one meets more kinks, a smaller one loses digits."""
ELSE = 1e-4


def rest(dense: Dense, index: int, ops: Ops, output: Tensor) -> Tensor:
    """The logit (N,) of a class plus the logarithm of its softmax."""
    table = dense.table(ops, output)
    high = ops.detach(ops.max(table, (1,), keepdims=True))
    whole = ops.log(ops.sum(ops.exp(table - high), 1)) + ops.sum(high, 1)
    return 2.0 * table[:, index] - whole


def slopes(job: Job, layer: str, grid: Grid) -> tuple[Array, Array]:
    """The activations (N, C, h, w) of a layer, and ShapleyCAM's weights (N, C): the mean over the positions of the
    gradient of the targets' scores, less half of the Hessian times the activations."""
    model, ops = job.model, job.model.ops
    step = STEP.get(ops.dtype, ELSE)
    marks = ops.asarray(targets.marks(model, job.table, job.targets))

    def gradient(x: Tensor, at: Tensor, own: Tensor) -> Tensor:
        def score(leaves: Leaves) -> tuple[Tensor, None]:
            output = model.forward(x, (OUTPUT,), {layer: leaves["at"]})[OUTPUT]
            return targets.score(ops, job.table, job.table(ops, output), own), None

        return grid.maps(ops, ops.value_and_grad(score, {"at": at})[1]["at"])

    def take(start: int, stop: int) -> tuple[Array, Array]:
        x, own = ops.asarray(job.batch.tensor[start:stop]), marks[start:stop]
        kept = ops.detach(model.forward(x, (layer,))[layer])
        above, below = (gradient(x, sign * kept, own) for sign in (step, -step))
        slope = 0.5 * (above + below) - (above - below) / (4.0 * step)
        return ops.numpy(grid.maps(ops, kept)), ops.numpy(ops.mean(slope, (2, 3)))

    found = batching.collected(model, len(job), job.batch_size, take, job.technique)
    activations, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return activations, weights
