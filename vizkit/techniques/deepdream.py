"""DeepDream: a photo in which a layer sees more of what it already sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import images as pixels
from ..backend import Array, Leaves, Model, Step, Tensor
from ..errors import DivergedError, SettingError
from ..objectives import Objective, Seen
from ..objectives import layer as whole_layer
from ..optimise import NormalisedAscent
from ..progress import steps_bar
from ..results import Result, provenance
from ..transforms import Jitter, Pad, Transform, compose, draw
from ._checks import pictures_only
from ._trace import Trace
from .dream import default_layer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

SMALLEST = 48
"""Pixels of the shorter side below which there is no octave."""


@dataclass(frozen=True, repr=False)
class DeepDream(Result):
    """``values`` (1, C, H, W) in 0..1; ``photo`` uint8 (H, W, 3), what it was; ``trace`` (octaves * steps,) the
    objective at every step; ``sizes`` (height, width) of every octave; ``aim`` what was climbed, in words."""

    photo: Array
    trace: Array
    sizes: tuple[tuple[int, int], ...]
    aim: str

    def arrays(self) -> dict[str, Array]:
        return {"values": self.values, "photo": self.photo, "trace": self.trace}

    def comparable(self) -> tuple[str, Array]:
        """The objective at each step: the pixels of a chaotic loop part from the first rounding on."""
        return "objective of each step", self.trace

    def pictures(self) -> Array:
        """uint8 (1, H, W, 3), for the eye."""
        return pixels.picture(self.values)

    def figure(self) -> Figure:
        """The photo and what became of it."""
        from .. import plotting

        return plotting.deepdream([self])


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
    sizes = _octaves(final, octaves, octave_scale)
    shown = np.asarray(image.resize((final[1], final[0]), resample=3))
    channels = shown if model.spec.channels == 3 else shown.mean(axis=2, keepdims=True)
    base = pixels.normalise(channels.transpose(2, 0, 1)[None] / 255.0, model.spec)
    rng = np.random.default_rng(seed)
    ops = model.ops
    original, added = ops.asarray(base), None
    low, high = (
        ops.asarray(pixels.normalise(np.full((1, model.spec.channels, 1, 1), end), model.spec)) for end in (0.0, 1.0)
    )

    def diverged(number: int, value: Array, before: Tensor) -> DivergedError:
        error = DivergedError(f"The deep dream of {model.name} met {value[0]} at step {number + 1}; lower lr.")
        error.last_good = pixels.denormalise(ops.numpy(before), model.spec)
        return error

    optimiser = NormalisedAscent(ops, lr)
    memory: dict[Any, Tensor] = {}

    def advanced(width: int) -> Step:
        """One step for views that are shifted by up to ``width`` pixels."""
        views = _views(width)

        def step(given: Leaves) -> Leaves:
            def score(leaves: Leaves) -> tuple[Tensor, Tensor]:
                seen = compose(views, ops, leaves["x"], given["drawn"])
                value = aim.value(Seen(model, model.forward(seen, aim.layers()), leaves["x"], None, seen, memory))
                return value, value

            _, gradients, value = ops.value_and_grad(score, {"x": given["x"]})
            x, _ = optimiser.step(given["x"], -1.0 * gradients["x"], {})
            return {"x": ops.maximum(ops.minimum(x, high + 0.0 * x), low + 0.0 * x), "value": value}

        return step

    trace = Trace(ops, diverged)
    with model.held(), steps_bar("deepdream", len(sizes) * steps) as advance:
        for octave, sides in enumerate(sizes):
            small = ops.resize(original, sides)
            x = small if added is None else small + ops.resize(added, sides)
            width = min(jitter, min(sides) // 4)
            one_step = model.recorded(advanced(width))
            drawn = ops.asarray([draw(_views(width), rng) or (0.0,) for _ in range(steps)])
            for step in range(steps):
                made = one_step({"x": x, "drawn": drawn[step : step + 1]})
                trace.add(x, made["value"])
                x = made["x"]
                advance(octave * steps + step + 1, f"octave {octave + 1}, {sides[1]} x {sides[0]} px")
            added = x - small
    trace.read()
    values = pixels.denormalise(ops.numpy(x), model.spec)
    settings = {
        "objective": repr(aim), "octaves": octaves, "octave_scale": octave_scale, "steps": steps, "lr": lr,
        "jitter": jitter, "size": size, "seed": seed,
    }  # fmt: skip
    made = provenance(model, "deepdream", settings)
    return DeepDream(values, made, shown, np.array([row[0, 0] for row in trace.rows]), tuple(sizes), aim.words())


def _octaves(final: tuple[int, int], octaves: int, scale: float) -> list[tuple[int, int]]:
    """Sizes from the smallest to ``final``; those with a side that is too small are left out."""
    sizes = [(round(final[0] / scale**k), round(final[1] / scale**k)) for k in reversed(range(octaves))]
    return [one for one in sizes if min(one) >= SMALLEST] or [final]


def _views(width: int) -> tuple[Transform, ...]:
    return (Pad(width // 2, "reflect"), Jitter(2 * (width // 2))) if width > 1 else ()
