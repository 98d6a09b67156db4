"""Warnings of maps that say nothing, or less than they seem to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...contract.backend import Array, Model
from ...contract.errors import SettingError, warn

INCOMPLETE = 0.05
"""Relative completeness error beyond which a method that promises completeness warns."""
FLAT = (
    "the score does not change with the image. Likely causes: no path through the ReLUs is open, the network ends in a "
    "softmax that is saturated (explain the network without it), or the weights are blank."
)
CLIPPED = (
    "all its evidence is negative, and the ReLU clips that. Likely causes: the class is not in the picture "
    "(relu=False shows what speaks against it), or the wrong layer: the gradient there is zero or has no extent."
)
UNCHANGED = (
    "the score does not change whatever is hidden. Likely causes: the target has no evidence in the picture, the "
    "baseline resembles it, or the output is saturated (does the network end in a softmax? explain it without)."
)
FLAT_LAYER = (
    "the layer does not react, or the score not to it. Likely causes: the wrong layer, whose maps are blank, or a "
    "saturated output (does the network end in a softmax? explain it without)."
)


def pictures_only(model: Model, technique: str) -> None:
    """SettingError for a network on signals or volumes, of which a technique would make nonsense."""
    if model.spec.extent:
        raise SettingError(
            f"vizkit.{technique} works on pictures (N, C, H, W); {model.name} takes inputs (N, "
            f"{', '.join(map(str, model.spec.shape))}). Saliency, the gradient methods, occlusion and class activation "
            "maps take those."
        )


def check_maps(values: Array, whats: Sequence[str], cause: str) -> None:
    """Warn for each map (N, H, W) that is not finite, or the same everywhere; ``whats`` say of what each map is."""
    flat = values.reshape(len(values), -1)
    lows, highs = flat.min(axis=1), flat.max(axis=1)
    finite = np.isfinite(lows) & np.isfinite(highs)  # which they are not where any value is not
    if (finite & (highs > lows)).all():
        return
    for one, what, low, high, sound in zip(values, whats, lows, highs, finite, strict=True):
        if not sound:
            warn(
                f"{what} is not finite. Likely causes: NaN in the network's parameters, or logits or gradients that "
                "overflowed; look at model.predict, or take dtype='float64'."
            )
        elif not high > low:
            level = f"{float(one.flat[0]):.3g}" if one.any() else "zero"
            warn(f"{what} is {level} everywhere: {cause or FLAT}")


def relative_error(total: Array, expected: Array) -> Array:
    """``|total - expected| / |expected|``, (N,); zero where both are equal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total == expected, 0.0, np.abs(total - expected) / np.abs(expected))


def completeness(total: Array, expected: Array, whats: Sequence[str], advice: str) -> Array:
    """The relative error (N,) of attributions that add up to ``total``; warns above :data:`INCOMPLETE`."""
    error = relative_error(total, expected)
    for what, one, got, wanted in zip(whats, error, total, expected, strict=True):
        if not one <= INCOMPLETE:
            warn(f"{what}: attributions add up to {got:.4g} and should give {wanted:.4g}, {one:.1%} off. {advice}")
    return error
