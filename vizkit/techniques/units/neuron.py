"""What in the picture drives one position of a unit, by deconvnet and guided backpropagation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...contract.backend import Array, Mode, Model, Tensor
from ...contract.errors import one_of
from ...contract.units import units_of
from ...inputs.images import Batch
from ...support import batching
from ..common.relu import NAMED, relu_mode

RULES = (*NAMED, "gradient")


def neuron_maps(
    model: Model,
    batch: Batch,
    layer: str,
    unit: int,
    positions: Sequence[Sequence[int]],
    *,
    rule: str = "guided",
    batch_size: int | None = None,
) -> Array:
    """The gradient (N, C, H, W) of one neuron of each picture at the picture's pixels.

    ``d A[unit, y, x] / d x`` with ``(y, x)`` the picture's own of ``positions`` (N, 2); every ReLU before the layer,
    and the layer's own, follows ``rule``: "guided" (Springenberg et al. 2014, arXiv 1412.6806), "deconvnet" (Zeiler &
    Fergus 2013, arXiv 1311.2901), or "gradient", the true one. Nothing after the layer is computed. Raises
    SettingError for another rule, or one that no ReLU of the network can follow.
    """
    one_of("rule", rule, RULES)
    ops, units = model.ops, units_of(model, layer)
    sides = () if units.grid is None else units.places
    mode = Mode() if rule == "gradient" else relu_mode(rule)

    def step(start: int, stop: int) -> Array:
        chosen = np.zeros((stop - start, units.count, *sides))
        for row, (y, x) in enumerate(positions[start:stop]):
            chosen[(row, unit, y, x)[: chosen.ndim]] = 1
        mask = ops.asarray(chosen)

        def score(leaves: dict[str, Tensor]) -> tuple[Tensor, None]:
            maps = units.first(ops, model.forward(leaves["x"], (layer,), mode=mode)[layer])
            return ops.sum(maps * mask, tuple(range(1, chosen.ndim))), None

        return ops.numpy(ops.value_and_grad(score, {"x": ops.asarray(batch.tensor[start:stop])})[1]["x"])

    return np.concatenate(batching.collected(model, len(batch), batch_size, step, rule))
