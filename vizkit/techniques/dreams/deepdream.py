"""DeepDream: a photo in which a layer sees more of what it already sees."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ...contract.backend import Array, Model
from ...contract.errors import SettingError
from ...inputs import images as pixels
from ...results.dreams import DeepDream
from ...results.files import provenance
from ..common.checks import pictures_only
from .objectives import Objective
from .objectives import layer as whole_layer
from .octaves import SMALLEST, climbed, octaves_of
from .recipe import default_layer


def deepdream(
    model: Model,
    photo: str | Image.Image | Array,
    objective: Objective | str | None = None,
    *,
    octaves: int = 4,
    octave_scale: float = 1.4,
    steps: int = 12,
    lr: float = 0.03,
    jitter: int = 24,
    size: int = 512,
    seed: int = 0,
) -> DeepDream:
    """DeepDream (Mordvintsev, Olah & Tyka 2015): gradient ascent on a photo, from small to large.

    The photo is taken at ``octaves`` sizes, each ``octave_scale`` times the one before. At each, ``steps`` steps of
    ``x <- x + lr * g / mean |g|`` are taken in the network's normalised range, ``g`` being the gradient of the
    objective for a view shifted by up to ``jitter`` pixels; what was added is enlarged and laid on the photo's next
    size. Pixels stay within 0..1.

    Args:
        model: a network; it sees the photo at its own shape, so the layer must not lie after a flattening.
        photo: one image.
        objective: an objective, or a layer's name for the mean of its squares; None takes the layer that
            :func:`vizkit.dream` takes.
        octaves, octave_scale, steps, lr, jitter: see above.
        size: longer side of the result in pixels.
        seed: of the shifts.

    Returns:
        :class:`DeepDream` with ``values`` (1, C, H, W).

    Raises:
        SettingError, UnknownNameError, ImageError; DivergedError at a value that is not finite.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.deepdream(model, vizkit.images.sample(), "features.6", size=96, steps=1).values.shape
        (1, 3, 64, 96)
    """
    pictures_only(model, "deepdream")
    if octaves < 1 or steps < 1 or octave_scale <= 1 or lr <= 0 or jitter < 0 or size < SMALLEST:
        raise SettingError(
            f"octaves={octaves}, steps={steps}, octave_scale={octave_scale}, lr={lr}, jitter={jitter}, size={size}: "
            f"octaves and steps must be at least 1, octave_scale above 1, lr positive, size at least {SMALLEST}."
        )
    aim = whole_layer(objective or default_layer(model)) if not isinstance(objective, Objective) else objective
    for name in aim.layers():
        model.check_layer(name)
    image = pixels.read(photo)
    longest = max(image.size)
    final = (max(1, round(image.height * size / longest)), max(1, round(image.width * size / longest)))
    sizes = octaves_of(final, octaves, octave_scale)
    shown = np.asarray(image.resize((final[1], final[0]), resample=3))
    channels = shown if model.spec.channels == 3 else shown.mean(axis=2, keepdims=True)
    base = pixels.normalise(channels.transpose(2, 0, 1)[None] / 255.0, model.spec)
    values, trace = climbed(model, aim, base, sizes, steps=steps, lr=lr, jitter=jitter, seed=seed)
    settings = {
        "objective": repr(aim), "octaves": octaves, "octave_scale": octave_scale, "steps": steps, "lr": lr,
        "jitter": jitter, "size": size, "seed": seed,
    }  # fmt: skip
    made = provenance(model, "deepdream", settings)
    return DeepDream(values, made, shown, trace, tuple(sizes), aim.words())
