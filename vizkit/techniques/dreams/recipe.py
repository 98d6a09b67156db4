"""The loss of the published dream recipe, and the loop that lowers it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...contract.backend import OUTPUT, Array, Leaves, Model, Ops, Tensor
from ...contract.errors import DivergedError, LayerError, SettingError, VizkitError
from ...contract.units import find_units, units_of
from ...inputs import images
from ...results.dreams import Stage
from ...support.progress import steps_bar
from .objectives import FLOOR
from .optimise import Adam
from .regularisers import derivative_kernels
from .trace import Trace

DEFAULT_LAYER, DEFAULT_UNIT = "inception4a", 225
# One derivative in x; the other is its transpose. Sums of integers, not normalised.
GRADIENT_FILTERS: dict[str, tuple[tuple[float, ...], ...]] = {
    "scharr": ((-3, 0, 3), (-10, 0, 10), (-3, 0, 3)),
    "sobel": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "5x5": ((-5, -4, 0, 4, 5), (-8, -10, 0, 10, 8), (-10, -20, 0, 20, 10), (-8, -10, 0, 10, 8), (-5, -4, 0, 4, 5)),
}


@dataclass(frozen=True)
class Recipe:
    """The loss of the published recipe: ``-activation_weight * rms(unit) + pixel_weight * rms(x) + gradient_weight *
    rms(gradients)``, per picture."""

    layer: str
    units: tuple[int, ...]
    activation_weight: float
    pixel_weight: float
    gradient_weight: float
    beta: float
    gradient_filter: str

    def loss(self, model: Model, x: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and activation, both (units,): the unit's rms, or its value where it has a single position."""
        ops = model.ops
        kernels = derivative_kernels(ops, GRADIENT_FILTERS[self.gradient_filter], x.shape[1])
        maps = units_of(model, self.layer).first(ops, model.forward(x, (self.layer,))[self.layer])
        picked = ops.pick(maps, self.units)
        axes = tuple(range(1, len(picked.shape)))
        if all(side == 1 for side in picked.shape[1:]):
            activation = ops.reshape(picked, (len(self.units),))
        else:
            activation = _rms(ops, picked * picked, axes)
        slopes = ops.conv(x, kernels, groups=x.shape[1])
        squared = slopes * slopes
        if self.beta != 1.0:
            squared = (squared + FLOOR) ** self.beta
        penalty = self.pixel_weight * _rms(ops, x * x, (1, 2, 3))
        penalty = penalty + self.gradient_weight * _rms(ops, squared, (1, 2, 3))
        return penalty - self.activation_weight * activation, activation


def default_layer(model: Model) -> str:
    """ "inception4a", or the deepest layer with a position for every 16 x 16 pixels of the input, through which
    everything passes, where the graph tells: it is no attention."""
    if DEFAULT_LAYER in model.layers:
        return DEFAULT_LAYER
    found = {name: find_units(model, name) for name in model.layers}
    fitting = [
        name
        for name, units in found.items()
        if units and units.grid and all(16 * n >= side for n, side in zip(units.places, model.spec.size, strict=False))
    ]
    if not fitting:
        raise LayerError(f"{model.name} has no layer with feature maps to dream of; name one with layer=.")
    try:
        graph = model.graph()
    except VizkitError:  # Of a network whose graph its framework does not show.
        return fitting[-1]
    passed = graph.bottlenecks()
    return next((name for name in reversed(fitting) if graph.layers.get(name) in passed), fitting[-1])


def wanted_units(model: Model, layer: str, unit: int | Sequence[int] | None) -> tuple[int, ...]:
    if layer == OUTPUT:
        raise SettingError("layer='output' has no feature maps; name the last layer instead, for example 'fc'.")
    units = units_of(model, layer)
    if unit is None:
        unit = DEFAULT_UNIT if units.count > DEFAULT_UNIT else 0
    return tuple(units.chosen(unit))


def _rms(ops: Ops, squared: Tensor, axes: tuple[int, ...]) -> Tensor:
    return ops.sqrt(ops.mean(squared, axes) + FLOOR)


def grown(size: int, stages: int, scale: float) -> tuple[int, ...]:
    """The side of each stage, in pixels."""
    sides = [size]
    for _ in range(stages - 1):
        sides.append(round(sides[-1] * scale))
    return tuple(sides)


def lowered(
    model: Model,
    recipe: Recipe,
    sides: Sequence[int],
    *,
    steps: int,
    lr: float,
    seed: int,
    on_stage: Callable[[Stage], None] | None,
) -> tuple[Array, list[Array], tuple[Stage, ...]]:
    """Noise whose loss Adam lowers, enlarged from stage to stage: the pictures (units, C, H, W) in 0..1 before
    clipping, loss and activation (2, units) of each step, and six stages from first to last. Raises DivergedError."""
    ops, stages = model.ops, len(sides)
    start = np.random.default_rng(seed).random((1, model.spec.channels, sides[0], sides[0]))
    x = ops.asarray(np.repeat(images.normalise(start, model.spec), len(recipe.units), axis=0))
    shown = {int(index) for index in np.linspace(0, stages - 1, min(6, stages)).round()}
    strip: list[Stage] = []

    def score(leaves: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return recipe.loss(model, leaves["x"])

    optimiser = Adam(ops, lr)

    def advanced(given: Leaves) -> Leaves:
        loss, gradients, activation = ops.value_and_grad(score, {"x": given["x"]})
        x, state = optimiser.step(given["x"], gradients["x"], given)
        return {"x": x, "loss": loss, "activation": activation, **state}

    def diverged(number: int, loss: Array, before: Tensor) -> DivergedError:
        index, step = divmod(number, steps)
        error = DivergedError(
            f"The dream of {model.name} met a loss of {loss.tolist()} at step {step + 1} of {steps} in stage {index} "
            f"({before.shape[3]} x {before.shape[3]} pixels). Lower lr, raise pixel_weight, or take another unit; the "
            "last good picture is in the error's last_good."
        )
        error.last_good = images.denormalise(ops.numpy(before), model.spec)
        return error

    trace = Trace(ops, diverged)
    with steps_bar(f"dream of {recipe.layer}", stages * steps) as advance:
        for index, side in enumerate(sides):
            if index:
                x = ops.detach(ops.resize(x, (side, side)))
            one_step, state = model.recorded(advanced), optimiser.start(x)
            with model.held():
                for step in range(steps):
                    made = one_step({"x": x, **state})
                    trace.add(x, made["loss"], made["activation"])
                    x, state = made["x"], {name: made[name] for name in state}
                    reached = f", activation {trace.rows[-1][1].max():.3g}" if trace.rows else ""
                    advance(index * steps + step + 1, f"stage {index}, {side} px{reached}")
            trace.read()
            if on_stage is not None or index in shown:
                pictures = images.denormalise(ops.numpy(x), model.spec)
                stage = Stage(index, side, trace.rows[-1][1], trace.rows[-1][0], pictures)
                if index in shown:
                    strip.append(stage)
                if on_stage is not None:
                    on_stage(stage)
    return images.denormalise(ops.numpy(x), model.spec), trace.rows, tuple(strip)
