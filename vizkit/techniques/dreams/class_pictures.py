"""What a network holds a class to look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...contract.backend import Model
from ...contract.errors import SettingError
from ...inputs.images import ImageInput
from ...results.dreams import Rendering
from .objectives import logit
from .parametrisations import Fourier, sides
from .regularisers import rms, total_variation
from .render import render
from .transforms import Blur, Jitter, Pad, Rotate, Scale, Transform

DECAY = 1.5
"""Exponent of the frequencies' scale: steeper than in natural pictures, which favours large forms."""


def class_pictures(
    model: Model,
    target: int | str | Sequence[int | str],
    *,
    steps: int = 256,
    lr: float = 0.05,
    size: int | tuple[int, int] | None = None,
    tv_weight: float = 20.0,
    rms_weight: float = 20.0,
    seed: int = 0,
    images: ImageInput | None = None,
    **options: Any,
) -> Rendering:
    """Pictures that raise the logits of classes (Simonyan et al. 2013, arXiv 1312.6034), by :func:`render`.

    The objective is ``logit - rms_weight * rms(x - 0.5) - tv_weight * TV(x)``; Fourier coefficients are scaled by
    ``1 / frequency ** 1.5``; the picture is padded and shifted by a fourteenth of its side, scaled, turned, shifted
    again and blurred by up to a pixel. Chosen because without blur and penalties some pictures raise their logit by
    fine patterns that the plain picture, resized, does not keep.

    Args:
        model: a network with logits (N, classes).
        target: an index, a label, or a list of them; each gets a picture.
        steps, lr: of Adam.
        size: height and width of the pictures; None is the network's input size.
        tv_weight, rms_weight: of the penalties, in units of the logit.
        seed: of the noise and the transforms.
        images: real pictures, among whose logits each is placed.
        options: ``every``, ``on_frame``, ``checkpoint`` and ``optimise`` of :func:`render`.

    Returns:
        Rendering with ``values`` (N, C, H, W) in 0..1, titled with the labels.

    Raises:
        UnknownNameError for a label that does not exist, SettingError, and those of :func:`render`.

    Example:
        >>> import vizkit
        >>> vizkit.class_pictures(vizkit.load("shapes"), ["ring", "star"], steps=2).titles
        ('ring', 'star')
    """
    listed = [target] if isinstance(target, int | str) else list(target)
    if not listed:
        raise SettingError("class_pictures() was given no class; give an index, a label, or a list of them.")
    classes = [model.spec.index(one, model.output_shape[-1]) for one in listed]
    height, width = sides(size or model.spec.size)
    objective = logit(classes) - rms_weight * rms() - tv_weight * total_variation()
    return render(
        model,
        objective,
        parametrisation=Fourier((height, width), model.spec.channels, decay=DECAY),
        transforms=views((height, width)),
        steps=steps,
        lr=lr,
        seed=seed,
        images=images,
        titles=[model.spec.label(one) for one in classes],
        **options,
    )


def views(size: tuple[int, int]) -> tuple[Transform, ...]:
    """Transforms that favour large forms: pad and shift by a fourteenth of the side, scale, turn, shift again, blur."""
    border = max(1, min(size) // 14)
    return (Pad(border), Jitter(border), Scale(0.9, 1.1), Rotate(5.0), Jitter(border), Blur(1.0))
