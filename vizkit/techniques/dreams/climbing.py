"""The loop around the steps of a rendering: sizes, progress, and what a stopped run needs to go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from ...contract.backend import OUTPUT, Array, Model
from ...contract.errors import SettingError, ShapeError
from ...inputs import images as pixels
from ...support.progress import steps_bar
from . import checkpoint as checkpoints
from .ascent import Ascent
from .checkpoint import Checkpoint, Loop
from .objectives import Objective
from .parametrisations import Fourier, Parametrisation

LARGER = 12
"""Pixels by which a picture is larger that is shown to a network to see whether it takes other sizes than its own."""


def key_of(made: dict[str, Any]) -> str:
    """What must be equal for a checkpoint to go on."""
    of = ("model", "model_file", "backend", "dtype", "input", "weights", "settings")
    kept = {name: made[name] for name in of if name in made}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def shown(model: Model, loop: Loop) -> tuple[Array, Array | None]:
    """The pictures now, and their opacity."""
    ops, shape = model.ops, loop.parametrisation
    alpha = shape.opacity(ops, loop.leaves)
    return ops.numpy(shape.pictures(ops, loop.leaves)), None if alpha is None else ops.numpy(alpha)


def composite(values: Array, alpha: Array | None) -> Array:
    return values if alpha is None else values * alpha + (1.0 - alpha)


def flat(model: Model, objective: Objective, sides: tuple[int, int]) -> bool:
    """Whether the objective reads a layer that only exists at the network's own input size; what works on tokens, or
    with channels last, often asks for that size, so that such a network is shown a picture a little larger than
    ``sides``."""
    names = objective.layers()
    if any(name == OUTPUT or len(model.layers[name].shape) != 4 for name in names):
        return True
    grids = [model.grid(name) for name in model.layers]
    if not names or all(grid is None or grid.order == "NCHW" for grid in grids):
        return False
    try:
        model.forward(model.ops.zeros((1, model.spec.channels, *(one + LARGER for one in sides))), names)
    except ShapeError:
        return True
    return False


def check(
    model: Model,
    objective: Objective,
    steps: int,
    lr: float,
    every: int | None,
    on_frame: Callable[[int, Array], None] | None,
) -> None:
    """Raises SettingError for numbers with which there is nothing to run, UnknownNameError for a layer."""
    for name in objective.layers():
        model.check_layer(name)
    if steps < 1 or lr <= 0:
        raise SettingError(f"steps={steps}, lr={lr}: expected at least one step and a positive learning rate.")
    if every is not None and every < 1:
        raise SettingError(f"every={every}: expected at least 1, or None for no frames.")
    if on_frame is not None and every is None:
        raise SettingError("on_frame is given without every=; say after how many steps it is to be called.")


def through(
    model: Model, parametrisation: Parametrisation | None, sizes: Sequence[int | tuple[int, int]], steps: int
) -> list[Parametrisation]:
    """The parametrisation at each size that is grown through. Raises SettingError."""
    shape = parametrisation or Fourier(channels=model.spec.channels)
    if shape.channels != model.spec.channels:
        raise SettingError(f"{model.name} takes {model.spec.channels} channels; {shape!r} makes {shape.channels}.")
    grown = [shape.resized(size) for size in sizes] or [shape]
    if steps < len(grown):
        raise SettingError(f"steps={steps} are too few to grow through {len(grown)} sizes; take at least one for each.")
    return grown


def run(
    loop: Loop,
    ascent: Ascent,
    grown: Sequence[Parametrisation],
    *,
    steps: int,
    rescue: int,
    every: int | None,
    on_frame: Callable[[int, Array], None] | None,
    file: Checkpoint | None,
) -> None:
    """All steps of a rendering that are left, through the sizes of ``grown``; frames and checkpoints between them."""
    model = ascent.model
    if file is not None:
        file.load(loop, model.ops)
    with steps_bar("render", steps) as advance:
        while loop.step < steps:
            stop = min(n * (loop.step // n + 1) for n in (checkpoints.EVERY, every or checkpoints.EVERY))
            with model.held():
                while loop.step < min(stop, steps):
                    ascent.grow(loop, grown[loop.step * len(grown) // steps])
                    ascent.step(loop, rescued=loop.step < rescue)
                    reached = f", objective {loop.trace.rows[-1].mean():.3g}" if loop.trace.rows else ""
                    advance(loop.step, f"{loop.parametrisation.sides[1]} px{reached}")
            if every is not None and (loop.step % every == 0 or loop.step == steps):
                loop.trace.read()
                loop.frames.append((loop.step, pixels.picture(composite(*shown(model, loop)))))
                if on_frame is not None:
                    on_frame(*loop.frames[-1])
            if file is not None and (loop.step % checkpoints.EVERY == 0 or loop.step == steps):
                loop.trace.read()
                file.save(loop, model.ops)
    loop.trace.read()
