"""Activation maximisation: the picture that a unit responds to most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import images
from ..backend import Array, Leaves, Model, Ops, Tensor
from ..errors import DivergedError, LayerError, SettingError, ShapeError
from ..optimise import Adam
from ..progress import steps_bar
from ..regularisers import derivative_kernels
from ..results import Result, provenance
from ._checks import pictures_only
from ._trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# One derivative in x; the other is its transpose. Sums of integers, not normalised.
GRADIENT_FILTERS: dict[str, tuple[tuple[float, ...], ...]] = {
    "scharr": ((-3, 0, 3), (-10, 0, 10), (-3, 0, 3)),
    "sobel": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "5x5": ((-5, -4, 0, 4, 5), (-8, -10, 0, 10, 8), (-10, -20, 0, 20, 10), (-8, -10, 0, 10, 8), (-5, -4, 0, 4, 5)),
}
DEFAULT_LAYER, DEFAULT_UNIT = "inception4a", 225
FLOOR = 1e-12
"""Added under each root, so that a unit which is silent everywhere has gradient zero and not NaN."""


@dataclass(frozen=True)
class Stage:
    """One size of a dream when it is finished. ``activation`` and ``loss`` (units,) were measured at its last step,
    ``pictures`` (units, C, H, W) are what that step made of them, in 0..1 before clipping."""

    index: int
    size: int
    activation: Array
    loss: Array
    pictures: Array


@dataclass(frozen=True, repr=False)
class Dream(Result):
    """``values`` (units, C, H, W) in the model's dtype: the last pictures, 0..1 before clipping. ``activation`` and
    ``loss`` (stages, units) trace the optimisation, ``step_activation`` (stages * steps, units) every step of it;
    ``strip`` are six stages from first to last."""

    layer: str
    units: tuple[int, ...]
    sizes: tuple[int, ...]
    activation: Array
    loss: Array
    step_activation: Array
    strip: tuple[Stage, ...]

    def arrays(self) -> dict[str, Array]:
        names = ("values", "activation", "loss", "step_activation")
        return {name: getattr(self, name) for name in names} | {"sizes": np.array(self.sizes)}

    def comparable(self) -> tuple[str, Array]:
        """The activation of each stage: the pixels of a chaotic loop part from the first rounding on."""
        return "activation of each stage", self.activation

    def pictures(self) -> Array:
        """uint8 (units, H, W, 3), for the eye."""
        return images.picture(self.values)

    def clipped(self) -> Array:
        """Share (units,) of the last pictures' values that lie outside 0..1 and that no screen can show."""
        outside = (self.values < 0) | (self.values > 1)
        return np.asarray(outside.reshape(len(outside), -1).mean(axis=1))

    def figure(self) -> Figure:
        """The published strip: six stages, a row for each unit, with size and activation reached."""
        from .. import plotting

        return plotting.dream([self])


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
        maps = model.forward(x, (self.layer,))[self.layer]
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


def _rms(ops: Ops, squared: Tensor, axes: tuple[int, ...]) -> Tensor:
    return ops.sqrt(ops.mean(squared, axes) + FLOOR)


def dream(
    model: Model,
    layer: str | None = None,
    unit: int | Sequence[int] | None = None,
    *,
    stages: int = 46,
    steps: int = 20,
    size: int = 28,
    scale: float = 1.05,
    lr: float = 0.4,
    activation_weight: float = 0.5,
    pixel_weight: float = 1.0,
    gradient_weight: float = 1.0,
    beta: float = 1.0,
    gradient_filter: str = "scharr",
    seed: int = 0,
    on_stage: Callable[[Stage], None] | None = None,
) -> Dream:
    """Activation maximisation (Erhan et al. 2009; Simonyan et al. 2013, arXiv 1312.6034) by the published GoogLeNet
    recipe: a small picture of noise is optimised, enlarged, optimised again.

    With ``x`` the normalised picture, ``A`` the unit's map and ``G`` the x and y derivatives of each channel (valid
    positions only), each stage takes ``steps`` steps of a fresh Adam on::

        loss = -activation_weight * sqrt(mean A^2) + pixel_weight * sqrt(mean x^2)
               + gradient_weight * sqrt(mean |G|^(2 beta))

    then resizes ``x`` bilinearly to ``round(scale * size)``; 28 pixels become 249 in 46 stages. A unit with a single
    position, such as a logit, counts with its value and sign in place of the root mean square.

    Args:
        model: a network.
        layer: any layer; None takes "inception4a" where there is one, else the deepest layer that has at least one
            position for every 16 x 16 pixels of input. Only layers up to it are computed.
        unit: a channel, or a list of channels that run as one batch from the same noise; None is 225, or 0 in a layer
            with fewer channels.
        stages, steps, size, scale, lr: the recipe's schedule. ``size`` is the first side in pixels.
        activation_weight, pixel_weight, gradient_weight, beta, gradient_filter: its loss; the filter is "scharr",
            "sobel" or "5x5".
        seed: of the uniform 0..1 noise it starts from.
        on_stage: called with each :class:`Stage` when it is finished.

    Returns:
        :class:`Dream` with ``values`` (units, C, H, W).

    Raises:
        UnknownNameError or LayerError for the layer, SettingError, ShapeError when the first size is too small for the
        layer, DivergedError at a value that is not finite; its ``last_good`` is the last finite picture (units, C, H,
        W) in 0..1.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.dream(model, "features.6", [3, 5], stages=2, steps=2, size=64).values.shape
        (2, 3, 67, 67)
    """
    pictures_only(model, "dream")
    layer = layer or default_layer(model)
    model.check_layer(layer)
    if stages < 1 or steps < 1 or size < 1 or scale < 1 or lr <= 0:
        raise SettingError(
            f"stages={stages}, steps={steps}, size={size}, scale={scale}, lr={lr}: stages, steps and size must be at "
            "least 1, scale at least 1.0, lr positive."
        )
    if gradient_filter not in GRADIENT_FILTERS:
        raise SettingError(f"gradient_filter={gradient_filter!r}: expected {', '.join(map(repr, GRADIENT_FILTERS))}.")
    units = _units(model, layer, unit)
    recipe = Recipe(layer, units, activation_weight, pixel_weight, gradient_weight, beta, gradient_filter)
    ops = model.ops
    channels = model.spec.channels
    start = np.random.default_rng(seed).random((1, channels, size, size))
    noise = images.normalise(start, model.spec)
    x = ops.asarray(np.repeat(noise, len(units), axis=0))
    shown = {int(index) for index in np.linspace(0, stages - 1, min(6, stages)).round()}
    sizes: list[int] = []
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
        where = f"step {step + 1} of {steps} in stage {index} ({before.shape[3]} x {before.shape[3]} pixels)"
        return _diverged(loss, model, before, where)

    trace = Trace(ops, diverged)
    with steps_bar(f"dream of {layer}", stages * steps) as advance:
        for index in range(stages):
            if index:
                size = round(size * scale)
                x = ops.detach(ops.resize(x, (size, size)))
            one_step, state = model.recorded(advanced), optimiser.start(x)
            with model.held():
                for step in range(steps):
                    made = one_step({"x": x, **state})
                    trace.add(x, made["loss"], made["activation"])
                    x, state = made["x"], {name: made[name] for name in state}
                    reached = f", activation {trace.rows[-1][1].max():.3g}" if trace.rows else ""
                    advance(index * steps + step + 1, f"stage {index}, {size} px{reached}")
            trace.read()
            sizes.append(size)
            if on_stage is not None or index in shown:
                pictures = images.denormalise(ops.numpy(x), model.spec)
                stage = Stage(index, size, trace.rows[-1][1], trace.rows[-1][0], pictures)
                if index in shown:
                    strip.append(stage)
                if on_stage is not None:
                    on_stage(stage)
    values = images.denormalise(ops.numpy(x), model.spec)
    if not np.isfinite(values).all():
        raise DivergedError(f"The dream of {layer} in {model.name} ended in values that are not finite; lower lr={lr}.")
    settings = {
        "layer": layer, "units": units, "stages": stages, "steps": steps, "size": sizes[0], "scale": scale, "lr": lr,
        "activation_weight": activation_weight, "pixel_weight": pixel_weight, "gradient_weight": gradient_weight,
        "beta": beta, "gradient_filter": gradient_filter, "seed": seed,
    }  # fmt: skip
    loss_trace, activation_trace = np.stack(trace.rows, axis=1)
    return Dream(
        values,
        provenance(model, "dream", settings),
        layer,
        units,
        tuple(sizes),
        activation_trace[steps - 1 :: steps],
        loss_trace[steps - 1 :: steps],
        activation_trace,
        tuple(strip),
    )


def _diverged(loss: Array, model: Model, x: Tensor, where: str) -> DivergedError:
    error = DivergedError(
        f"The dream of {model.name} met a loss of {loss.tolist()} at {where}. Lower lr, raise pixel_weight, or take "
        "another unit; the last good picture is in the error's last_good."
    )
    error.last_good = images.denormalise(model.ops.numpy(x), model.spec)
    return error


def default_layer(model: Model) -> str:
    """ "inception4a", or the deepest layer with a position for every 16 x 16 pixels of the input."""
    if DEFAULT_LAYER in model.layers:
        return DEFAULT_LAYER
    height = model.spec.size[0]
    fitting = [name for name, layer in model.layers.items() if len(layer.shape) == 4 and layer.shape[2] * 16 >= height]
    if not fitting:
        raise LayerError(f"{model.name} has no layer with feature maps to dream of; name one with layer=.")
    return fitting[-1]


def _units(model: Model, layer: str, unit: int | Sequence[int] | None) -> tuple[int, ...]:
    known = model.layers.get(layer)
    if known is None:
        raise SettingError("layer='output' has no feature maps; name the last layer instead, for example 'fc'.")
    if len(known.shape) not in (2, 4):
        raise ShapeError(f"Layer {layer!r} gives shape {known.shape}; a unit is a channel of (N, C, H, W) or (N, C).")
    count = known.shape[1]
    if unit is None:
        unit = DEFAULT_UNIT if count > DEFAULT_UNIT else 0
    units = (unit,) if isinstance(unit, int | np.integer) else tuple(unit)
    if not units:
        raise SettingError("The list of units is empty; give at least one.")
    wrong = [one for one in units if not 0 <= one < count]
    if wrong:
        raise SettingError(f"Layer {layer!r} has units 0 to {count - 1}; there is no {', '.join(map(str, wrong))}.")
    return tuple(int(one) for one in units)
