"""One differentiating pass: from images to the gradients of their targets' scores, and what a method keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...contract.backend import INFERENCE, Array, Evaluated, Leaves, Mode, Model, Ops, Step, Tensor
from ...contract.errors import PICTURE
from ...inputs import targets
from ...inputs.outputs import Dense, Table

IMAGES, MARKS, BESIDE = ":images", ":marks", ":beside"
"""Under these names a step is given images, the marks of their targets and images beside them; beside these stand
layers by their names, and no layer has such a one."""
INPUT = PICTURE
"""The leaf that stands for the image."""
LOGITS = ":logits"
"""Under this name a pass gives the logits beside what was asked of it."""
SCORES = ":scores"
"""The same for the targets' logits."""
VALUES = "values"
"""Under this name a reduction gives the maps."""


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass over a batch, native: the images, scores (N,), activations and gradients by layer,
    the gradient at the image under :data:`INPUT`; the scores of the images beside them, where there are any."""

    image: Tensor
    scores: Tensor
    activations: Leaves
    gradients: Leaves
    beside: Tensor | None = None


Reduce = Callable[[Ops, Pass], Leaves]
"""What a method keeps of a pass. A function of a module, or another object that is equal where it does the same."""
Start = Callable[[Ops, Tensor], Tensor]
"""What is scored in the place of the network's output: of the same value, with another derivative."""
Inferred = Callable[[Ops, Leaves], Leaves]
"""The same of a forward pass alone, given activations by layer."""


def differentiate(
    model: Model,
    reduce: Reduce,
    *,
    table: Table | None = None,
    layers: Sequence[str] = (),
    at_input: bool = True,
    mode: Mode = INFERENCE,
    start: Start | None = None,
) -> Step:
    """A step from :data:`IMAGES` and the :data:`MARKS` of their targets to what ``reduce`` makes of the
    gradient of the targets' scores at the input, at ``layers``, or at both, and to the scores of ``table``; None is
    that of the classes alone.

    At a layer the leaf is a zero tensor added to its output, or what is given under its name; without ``at_input``
    nothing before the first layer is differentiated, so that memory and time of the backward pass are those of the
    tail. ``start`` comes between what is scored and the scores. Images :data:`BESIDE` them, where they are given, go
    through the network before them, for the same targets, and the rules of ``mode`` see what became of them.
    """
    ops, names = model.ops, tuple(layers)
    table = table or Table(Dense.of(model))

    def step(given: Leaves) -> Leaves:
        x, marks = given[IMAGES], given[MARKS]
        now, other = mode, None
        if BESIDE in given:
            noted: list[Evaluated] = []
            found = model.forward(given[BESIDE], table.reads, {}, replace(mode, noted=noted))
            other = ops.detach(targets.score(ops, table, table.scores(ops, found), marks))
            now = replace(mode, beside=noted)
        shapes = {name: (len(x), *model.layer(name).shape[1:]) for name in names}
        leaves = {name: given[name] if name in given else ops.zeros(shape) for name, shape in shapes.items()}
        if at_input:
            leaves[INPUT] = x

        def score(leaves: Leaves) -> tuple[Tensor, Leaves]:
            add = {name: leaves[name] for name in names}
            kept = model.forward(leaves.get(INPUT, x), (*names, *table.reads), add, now)
            begun = kept if start is None else {name: start(ops, kept[name]) for name in table.reads}
            return targets.score(ops, table, table.scores(ops, begun), marks), kept

        scores, gradients, kept = ops.value_and_grad(score, leaves)
        return {**reduce(ops, Pass(x, scores, kept, gradients, other)), LOGITS: table.scores(ops, kept)}

    if mode.training is not None:
        return step
    return model.recorded(step, ("differentiate", reduce, names, at_input, mode.rules, start, table))


def looking(
    model: Model, reduce: Reduce, layers: Sequence[str], index: int | None = None, **options: Any
) -> Callable[[Tensor], Leaves]:
    """From a batch (N, C, H, W) to what ``reduce`` makes of the gradient of a class's score at ``layers``, None each
    one's top-1, and to the logits; options as :func:`differentiate` has them."""
    table = Table(Dense.of(model))
    run = differentiate(model, reduce, table=table, layers=layers, at_input=False, **options)
    return lambda x: run({IMAGES: x, MARKS: model.ops.asarray(targets.marks(model, table, [index] * len(x)))})


def gradients_and_scores(ops: Ops, done: Pass) -> Leaves:
    """The gradients as they are, and the scores (N,)."""
    return {**done.gradients, SCORES: done.scores}


def as_they_are(ops: Ops, kept: Leaves) -> Leaves:
    """What a forward pass has kept."""
    return dict(kept)


def everything(ops: Ops, done: Pass) -> Leaves:
    """The same, and the activations of the layers, by :func:`activation_of`."""
    kept = {activation_of(name): done.activations[name] for name in done.gradients if name != INPUT}
    return {**done.gradients, **kept, SCORES: done.scores}


def activation_of(layer: str) -> str:
    """Under this name :func:`everything` gives the activation of a layer, whose own has the gradient."""
    return f"{layer}:activation"


def strongest_gradient(ops: Ops, done: Pass) -> Leaves:
    """:func:`strongest` of the gradient at the image."""
    return {VALUES: ops.max(ops.abs(done.gradients[INPUT]), 1)}


def strongest(gradient: Array) -> Array:
    """(N, C, H, W) to (N, H, W): the largest absolute value over the colour channels."""
    return np.asarray(np.abs(gradient).max(axis=1))
