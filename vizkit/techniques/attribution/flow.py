"""What flows through a layer while the input goes from a baseline to the picture."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array, Leaves, Step, Tensor
from ...inputs import targets
from ...inputs.targets import Neuron
from ..common.job import Job, State
from ..common.passes import IMAGES, INPUT, SCORES, activation_of, differentiate, everything, gradients_and_scores
from .place import Place
from .quadrature import quadrature
from .ways import Ways

EVEN = "even"
"""The rule of even points, between which the whole way lies."""


def steps_of(rule: str, steps: int) -> tuple[Array, Array]:
    """The points at which a layer's activations are compared, and for each step between two of them, the first from
    the baseline and the last to the picture, the weights (steps, 2) of the gradients at its ends."""
    if rule != EVEN:
        nodes, _ = quadrature(rule, steps + 1)
        return nodes, np.concatenate([[[0, 0]], np.tile([[1, 0]], (steps, 1)), [[0, 0]]])
    nodes, _ = quadrature("riemann_middle", steps)
    return nodes, np.concatenate([[[0, 1]], np.full((steps - 1, 2), 0.5), [[1, 0]]])


def along(ways: Ways, place: Place, weights: Array) -> tuple[Array, Array]:
    """The mean over the ways of ``sum_k g_k (A(a_(k+1)) - A(a_k))`` at a place, (N, ...), and how much the score rises,
    (N,): ``g_k`` the gradients at both ends of a step with these weights."""
    ops, layer = ways.job.model.ops, place.leaf
    none = np.zeros((1, 2))  # from the end of one way to the start of the next
    shares = np.tile(np.concatenate([weights, none]), (ways.count // ways.points, 1))
    near, far = (ops.double(place.column(one)) for one in shares.T)

    def fold(_: int, which: range, made: Leaves, state: State | None) -> State:
        values, gradients = ops.double(made[activation_of(layer)]), ops.double(made[layer])
        if state is not None:
            values, gradients = ops.concat([state[1], values]), ops.concat([state[2], gradients])
        count, first = len(values) - 1, which.stop - len(values)
        sums = 0.0 * values[:1] if state is None else state[0]
        if count:
            here = near[first : first + count] * gradients[:count] + far[first : first + count] * gradients[1:]
            sums = sums + ops.sum(here * (values[1:] - values[:count]), 0, keepdims=True)
        return sums, values[count:], gradients[count:], ways.scores(made, state)

    found = ways.job.samples(ways.count, ways.inputs, fold, reduce=everything, **place.options)
    return found[0][:, 0] * ways.points / ways.count, ways.rise(found[-1])


def through(job: Job, neuron: Neuron) -> Step:
    """A step to the gradient at the input that comes through one unit alone."""
    model, ops, unit = job.model, job.model.ops, targets.unit(neuron)
    layer, column = unit.layer, unit.bound(model, None)
    tail = differentiate(model, gradients_and_scores, table=job.table, layers=(layer,), at_input=False)

    def step(given: Leaves) -> Leaves:
        made = tail(given)

        def score(leaves: Leaves) -> tuple[Tensor, None]:
            value = model.forward(leaves[INPUT], (layer,))[layer]
            return column.of(ops, value * made[layer]), None

        _, gradients, _ = ops.value_and_grad(score, {INPUT: given[IMAGES]})
        return {INPUT: gradients[INPUT], SCORES: made[SCORES]}

    return step
