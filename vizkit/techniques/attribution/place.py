"""Where a method differentiates: at the input, or at a layer, whose activation then stands for the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...contract.backend import Array, Leaves, Ops, Tensor
from ...results.attribution import Attribution
from ...support import batching
from ..common.job import Job, joined
from ..common.layers import choose_layer
from ..common.maps import enlarged
from ..common.passes import INPUT, VALUES, Pass

ATTRIBUTION = "attribution"
"""The name of what a method gives before channels become one."""


class Place:
    """``leaf`` is the name under which a pass gives the gradient there, ``shape`` that of one picture's activation,
    ``options`` what :func:`vizkit.techniques.common.passes.differentiate` needs to know.

    Raises UnknownNameError for a layer that does not exist, LayerError for one that does not cover the picture.
    """

    def __init__(self, job: Job, layer: str | None) -> None:
        self.job, self.layer, self.leaf = job, layer, layer or INPUT
        self.shape, self.options = tuple(job.batch.tensor.shape[1:]), dict[str, Any]()
        if layer is not None:
            _, self.grid = choose_layer(job.model, layer)
            self.shape = tuple(job.model.layers[layer].shape[1:])
            self.options = {"layers": (layer,), "at_input": False}

    def column(self, numbers: Any) -> Tensor:
        """Numbers (B,) as a native tensor that broadcasts over activations (B, ...)."""
        return self.job.model.ops.asarray(np.reshape(numbers, (-1, *(1 for _ in self.shape))))

    def values(self, x: Tensor) -> Tensor:
        """What is there for inputs (B, C, H, W), native."""
        if self.layer is None:
            return x
        model, size = self.job.model, self.job.batch_size or batching.fitting(self.job.model)
        parts = [model.forward(x[k : k + size], (self.layer,))[self.layer] for k in range(0, len(x), size)]
        return model.ops.detach(joined(model.ops, parts))

    def gradients(self, *, times_value: bool = False, **options: Any) -> Array:
        """The gradient (N, ...) there, or the value times the gradient, of all pictures."""
        return self.job.passes(Gradient(self.leaf, times_value), **self.options, **options)[VALUES]

    def result(
        self,
        attribution: Array,
        reduce: Callable[[Array], Array],
        *,
        extra: Mapping[str, Array] | None = None,
        **settings: Any,
    ) -> Attribution:
        """The result of attributions (N, ...) of which ``reduce`` makes maps, from (N, C, h, w) to (N, h, w)."""
        extra = {ATTRIBUTION: attribution, **(extra or {})}
        if self.layer is None:
            return self.job.result(reduce(attribution), extra=extra, **settings)
        ops = self.job.model.ops
        maps = reduce(ops.numpy(self.grid.maps(ops, ops.asarray(attribution))))
        values = ops.numpy(enlarged(ops, ops.asarray(maps), self.grid, self.job.model.spec))
        return self.job.result(values, layer=self.layer, extra=extra, **settings)


@dataclass(frozen=True)
class Gradient:
    """A reduction of a pass to the gradient at a leaf, perhaps times the value there."""

    leaf: str
    times_value: bool

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        gradient = done.gradients[self.leaf]
        if not self.times_value:
            return {VALUES: gradient}
        return {VALUES: gradient * (done.image if self.leaf == INPUT else done.activations[self.leaf])}


def total(attribution: Array) -> Array:
    """(N, C, H, W) to (N, H, W): the sum over the channels."""
    return np.asarray(attribution.sum(axis=1))
