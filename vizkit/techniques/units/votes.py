"""Which classes a unit speaks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...contract.backend import OUTPUT, Array, Model, Tensor
from ...contract.errors import ShapeError
from ...contract.units import units_of
from ...inputs.images import Batch
from ...support import batching

STEP = 1e-2
"""Relative change of the unit's map in the differences that choose the classes."""
EVERY = 24
"""Classes up to which none are chosen: the gradient is computed for all."""
FORMULA = (
    "V_c = mean over pictures of sum over y, x of (d logit_c / d A[unit, y, x]) * A[unit, y, x], the change of the "
    "class's logit for each relative change of the unit's whole map"
)
DIRECT = "V_c = w[c, unit], the weight from the unit to the class, since the layer feeds the classifier"


@dataclass(frozen=True)
class Votes:
    """``values`` (M,) float64 of the classes ``classes`` (M,), in falling order; ``formula`` in words."""

    classes: Array
    values: Array
    formula: str


def votes(model: Model, batch: Batch, layer: str, unit: int, *, most: int = 5, batch_size: int | None = None) -> Votes:
    """The ``most`` classes that a unit speaks for most, and as many that it speaks against.

    With ``A`` the layer's activations: ``V_c = mean_i sum_yx (d logit_c / d A_i[unit, y, x]) * A_i[unit, y, x]`` over
    the pictures of the batch. Behind a layer whose only successor is the dense classifier it is ``V_c = w[c, unit]``.
    Networks of more than 24 classes: the classes are chosen by a central difference in the direction of the map, which
    ranks all of them in two passes; the values shown are those of the gradient.

    Raises ShapeError for a network without classes.
    """
    shape = model.output_shape
    if len(shape) != 2:
        raise ShapeError(f"{model.name} gives an output of shape {shape}; votes need classes, (N, classes).")
    activations, logits = _forward(model, batch, layer, batch_size)
    axis = units_of(model, layer).axis
    direct = _direct(model, unit, np.moveaxis(activations, axis, 1), logits)
    if direct is not None:
        chosen = _ends(direct, most)
        return Votes(chosen, direct[chosen], DIRECT)
    share = np.zeros_like(activations)
    np.moveaxis(share, axis, 1)[:, unit] = np.moveaxis(activations, axis, 1)[:, unit]
    wanted = np.arange(shape[1])
    if shape[1] > EVERY:
        wanted = _ends(_differences(model, batch, layer, share, batch_size), most)
    values = np.array([_gradient(model, batch, layer, share, int(c), batch_size) for c in wanted])
    order = np.argsort(-values, kind="stable")
    return Votes(wanted[order], values[order], FORMULA)


def _ends(values: Array, most: int) -> Array:
    """Places of the greatest and of the least values, in falling order; all of few."""
    order = np.argsort(-values, kind="stable")
    return order if len(order) <= 2 * most else np.concatenate([order[:most], order[-most:]])


def _forward(model: Model, batch: Batch, layer: str, batch_size: int | None) -> tuple[Array, Array]:
    def step(start: int, stop: int) -> tuple[Array, Array]:
        kept = model.forward(model.ops.asarray(batch.tensor[start:stop]), (layer, OUTPUT))
        return model.ops.numpy(kept[layer]), model.ops.numpy(kept[OUTPUT])

    found = batching.collected(model, len(batch), batch_size, step, "votes")
    activations, logits = (np.concatenate(some) for some in zip(*found, strict=True))
    return activations, logits


def _direct(model: Model, unit: int, activations: Array, logits: Array) -> Array | None:
    """The classifier's weights from the unit, where the logits are its dense layer's of these activations."""
    flat = activations.reshape(len(activations), -1)
    if flat.shape[1] != activations.shape[1]:
        return None
    shape = (logits.shape[1], flat.shape[1])
    shapes = model.parameter_shapes()
    for name in (n for n, s in shapes.items() if n.endswith(".weight") and tuple(s) == shape):
        weight, beside = model.parameter(name).astype(np.float64), name.removesuffix("weight") + "bias"
        bias = model.parameter(beside) if beside in shapes else 0.0
        if np.allclose(flat @ weight.T + bias, logits, rtol=1e-3, atol=1e-3 * np.abs(logits).max()):
            return np.asarray(weight[:, unit])
    return None


def _differences(model: Model, batch: Batch, layer: str, share: Array, batch_size: int | None) -> Array:
    """(classes,) the central difference of the logits along the unit's map, mean over the pictures."""

    def step(start: int, stop: int) -> Array:
        x = model.ops.asarray(batch.tensor[start:stop])
        ends = [
            model.ops.numpy(model.forward(x, add={layer: model.ops.asarray(sign * STEP * share[start:stop])})[OUTPUT])
            for sign in (1, -1)
        ]
        return np.asarray((ends[0] - ends[1]).sum(axis=0, dtype=np.float64) / (2 * STEP))

    return np.asarray(sum(batching.collected(model, len(batch), batch_size, step, "votes"))) / len(batch)


def _gradient(model: Model, batch: Batch, layer: str, share: Array, c: int, batch_size: int | None) -> float:
    ops = model.ops

    def step(start: int, stop: int) -> float:
        x = ops.asarray(batch.tensor[start:stop])

        def score(leaves: dict[str, Tensor]) -> tuple[Tensor, None]:
            logits = model.forward(x, add={layer: leaves["zero"]})[OUTPUT]
            return ops.pick(logits, [c] * (stop - start)), None

        zero = ops.asarray(np.zeros_like(share[start:stop]))
        gradient = ops.numpy(ops.value_and_grad(score, {"zero": zero})[1]["zero"])
        return float((gradient.astype(np.float64) * share[start:stop]).sum())

    return sum(batching.collected(model, len(batch), batch_size, step, "votes")) / len(batch)
