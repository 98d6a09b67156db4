"""What is left of the score as values of the input are replaced, in the map's order: one by one, or patch by patch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract.backend import Model
from ..contract.errors import SettingError
from ..inputs.images import ImageInput
from ..inputs.targets import Target
from ..techniques.common.probe import Probe
from ._maps import Maps
from .faithfulness import Curves, curves, places
from .fidelity import attributions


def pixel_flipping(
    model: Model,
    image: ImageInput,
    maps: Maps,
    *,
    target: Target = None,
    step: int | None = None,
    baseline: str = "black",
    output: str = "probability",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Curves:
    """Pixel-flipping (Bach et al. 2015, 10.1371/journal.pone.0130140). Lower is better.

    The score after the most relevant pixels took the baseline, then the next, until none is left; as Quantus has it,
    which starts after the first step. Where attributions of every input value are given, each value goes by itself.
    ``auc`` is the mean by the trapezoid rule over the steps; Quantus' is the integral, as many times larger as there
    are steps but one. Its baseline "black" is the smallest value of the input, here a black pixel.

    Args:
        model, image, target, input_range, fit: as for :func:`vizkit.occlusion`.
        maps: (N, H, W) at the input's size, an attribution, or attributions of every input value (N, C, H, W).
        step: pixels, or values, that go at a time; None is the input's width.
        baseline: "black", "mean" or "blurred".
        output: "probability" or "logit".
        seed: of the order among equal values.
        batch_size: images in one pass; None takes as many as fit.

    Returns:
        :class:`Curves`.

    Raises:
        ImageError, UnknownNameError (label), SettingError, ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.edge_map(model, vizkit.images.sample())
        >>> vizkit.evaluate.pixel_flipping(model, vizkit.images.sample(), found, step=224 * 112).fractions
        array([0.5, 1. ])
    """
    how: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size}
    job = Probe("pixel_flipping", model, image, target, output=output, **how)
    phi = attributions(maps, job)
    count, size = phi[0].size, job.size[1] if step is None else step
    if not 1 <= size <= count:
        raise SettingError(f"step={step}: take 1 to {count} at a time.")
    turns = [places(one, seed) // size for one in phi]
    fractions = np.minimum(np.arange(1, -(-count // size) + 1) * size / count, 1.0)
    return curves(job, turns, np.arange(1, len(fractions) + 1), fractions, baseline)


def selectivity(
    model: Model,
    image: ImageInput,
    maps: Maps,
    *,
    target: Target = None,
    patch: int = 8,
    baseline: str = "black",
    output: str = "probability",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Curves:
    """Selectivity (Montavon, Samek & Müller 2018, arXiv 1706.07979). Lower is better.

    As :func:`pixel_flipping`, but in square patches, the one with the largest sum of the map first. Where they do not
    fit the picture they hang over its edges, half on each side, as Quantus has it. ``fractions`` are of the patches.

    Args, Raises: as for :func:`pixel_flipping`, and patch: their side, in pixels.

    Returns:
        :class:`Curves`; ``auc`` as there.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.edge_map(model, vizkit.images.sample())
        >>> vizkit.evaluate.selectivity(model, vizkit.images.sample(), found, patch=112).scores.shape
        (1, 4)
    """
    how: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size}
    job = Probe("selectivity", model, image, target, output=output, **how)
    phi = attributions(maps, job).sum(axis=1)
    if not 1 <= patch <= min(job.size):
        raise SettingError(f"patch={patch}: take 1 to {min(job.size)} pixels.")
    rows, columns = ((np.arange(side) + -side % patch // 2) // patch for side in job.size)
    number = rows[:, None] * (columns[-1] + 1) + columns
    count = int(number[-1, -1]) + 1
    turns = [places(np.bincount(number.ravel(), one.ravel(), count), seed)[number][None] for one in phi]
    steps = np.arange(1, count + 1)
    return curves(job, turns, steps, steps / count, baseline)
