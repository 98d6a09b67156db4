"""Activation maximisation: the picture that a unit responds to most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...contract.backend import Model
from ...contract.errors import DivergedError, SettingError, one_of
from ...results.dreams import Dream, Stage
from ...results.files import provenance
from ..common.checks import pictures_only
from .recipe import GRADIENT_FILTERS, Recipe, default_layer, grown, lowered, wanted_units


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
            position for every 16 x 16 pixels of input and through which everything passes (no attention). Only layers
            up to it are computed.
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
    one_of("gradient_filter", gradient_filter, GRADIENT_FILTERS)
    units = wanted_units(model, layer, unit)
    recipe = Recipe(layer, units, activation_weight, pixel_weight, gradient_weight, beta, gradient_filter)
    sides = grown(size, stages, scale)
    values, trace, strip = lowered(model, recipe, sides, steps=steps, lr=lr, seed=seed, on_stage=on_stage)
    if not np.isfinite(values).all():
        raise DivergedError(f"The dream of {layer} in {model.name} ended in values that are not finite; lower lr={lr}.")
    settings = {
        "layer": layer, "units": units, "stages": stages, "steps": steps, "size": size, "scale": scale, "lr": lr,
        "activation_weight": activation_weight, "pixel_weight": pixel_weight, "gradient_weight": gradient_weight,
        "beta": beta, "gradient_filter": gradient_filter, "seed": seed,
    }  # fmt: skip
    loss, activation = np.stack(trace, axis=1)
    made = provenance(model, "dream", settings)
    each = slice(steps - 1, None, steps)
    return Dream(values, made, layer, units, sides, activation[each], loss[each], activation, strip)
