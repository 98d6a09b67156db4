"""A photo that climbs an objective, from a small octave to its full size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...contract.backend import Array, Leaves, Model, Step, Tensor
from ...contract.errors import DivergedError
from ...inputs import images as pixels
from ...support.progress import steps_bar
from .objectives import Objective, Seen
from .optimise import NormalisedAscent
from .trace import Trace
from .transforms import Jitter, Pad, Transform, compose, draw

SMALLEST = 48
"""Pixels of the shorter side below which there is no octave."""


def octaves_of(final: tuple[int, int], octaves: int, scale: float) -> list[tuple[int, int]]:
    """Sizes from the smallest to ``final``; those with a side that is too small are left out."""
    sizes = [(round(final[0] / scale**k), round(final[1] / scale**k)) for k in reversed(range(octaves))]
    return [one for one in sizes if min(one) >= SMALLEST] or [final]


def _views(width: int) -> tuple[Transform, ...]:
    return (Pad(width // 2, "reflect"), Jitter(2 * (width // 2))) if width > 1 else ()


def climbed(
    model: Model,
    aim: Objective,
    base: Array,
    sizes: Sequence[tuple[int, int]],
    *,
    steps: int,
    lr: float,
    jitter: int,
    seed: int,
) -> tuple[Array, Array]:
    """The picture (1, C, H, W) in 0..1 that ``base``, normalised, becomes, and ``aim`` at each step (octaves * steps,).

    What the steps of an octave added is enlarged and added to the next. Raises DivergedError.
    """
    ops = model.ops
    rng = np.random.default_rng(seed)

    def diverged(number: int, value: Array, before: Tensor) -> DivergedError:
        error = DivergedError(f"The deep dream of {model.name} met {value[0]} at step {number + 1}; lower lr.")
        error.last_good = pixels.denormalise(ops.numpy(before), model.spec)
        return error

    climb = climbing(model, aim, lr)
    trace = Trace(ops, diverged)
    original, added = ops.asarray(base), None
    with model.held(), steps_bar("deepdream", len(sizes) * steps) as advance:
        for octave, sides in enumerate(sizes):
            small = ops.resize(original, sides)
            x = small if added is None else small + ops.resize(added, sides)
            width = min(jitter, min(sides) // 4)
            one_step = model.recorded(climb(width))
            drawn = ops.asarray([draw(_views(width), rng) or (0.0,) for _ in range(steps)])
            for step in range(steps):
                made = one_step({"x": x, "drawn": drawn[step : step + 1]})
                trace.add(x, made["value"])
                x = made["x"]
                advance(octave * steps + step + 1, f"octave {octave + 1}, {sides[1]} x {sides[0]} px")
            added = x - small
    trace.read()
    return pixels.denormalise(ops.numpy(x), model.spec), np.array([row[0, 0] for row in trace.rows])


def climbing(model: Model, aim: Objective, lr: float) -> Callable[[int], Step]:
    """Gives a step of normalised ascent within the colours that a screen can show, for views that are shifted by up to
    so many pixels."""
    ops, ascent, memory = model.ops, NormalisedAscent(model.ops, lr), dict[Any, Tensor]()
    ends = (np.full((1, model.spec.channels, 1, 1), end) for end in (0.0, 1.0))
    low, high = (ops.asarray(pixels.normalise(end, model.spec)) for end in ends)

    def shifted(width: int) -> Step:
        views = _views(width)

        def step(given: Leaves) -> Leaves:
            def score(leaves: Leaves) -> tuple[Tensor, Tensor]:
                seen = compose(views, ops, leaves["x"], given["drawn"])
                kept = model.forward(seen, aim.layers())
                value = aim.value(Seen(model, kept, leaves["x"], None, seen, memory))
                return value, value

            _, gradients, value = ops.value_and_grad(score, {"x": given["x"]})
            x, _ = ascent.step(given["x"], -1.0 * gradients["x"], {})
            shown = ops.maximum(ops.minimum(x, high + 0.0 * x), low + 0.0 * x)
            return {"x": shown, "value": value}

        return step

    return shifted
