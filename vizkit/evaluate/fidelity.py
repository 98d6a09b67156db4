"""Does a map predict what perturbations do to the score? Infidelity and faithfulness correlation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..contract.backend import Array, Model
from ..contract.errors import SettingError, ShapeError
from ..inputs.images import ImageInput
from ..inputs.references import reference
from ..inputs.targets import Target
from ..results.attribution import Attribution
from ..techniques.common.noise import generator
from ..techniques.common.probe import Probe
from ._maps import Maps, as_maps
from .statistics import pearson

PERTURBATIONS = ("noise", "square")


def infidelity(
    model: Model,
    image: ImageInput,
    maps: Maps,
    *,
    target: Target = None,
    perturbation: str = "noise",
    size: float = 0.2,
    samples: int = 50,
    normalise: bool = True,
    output: str = "logit",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Array:
    """Infidelity (Yeh et al. 2019, arXiv 1901.09392). Lower is better.

    ``E over I of (beta I . Phi - (S(x) - S(x - I)))^2`` with random perturbations I of the network's input x and Phi
    the attribution of its values; a map (H, W) stands for every channel. As captum has it: with ``normalise``,
    ``beta = E[(I . Phi)(S(x) - S(x - I))] / E[(I . Phi)^2]``, so that the map's scale does not matter; else 1. A map of
    zeros scores ``E[(S(x) - S(x - I))^2]``, the worst with ``normalise``.

    Args:
        model, image, target, input_range, fit: as for :func:`vizkit.occlusion`.
        maps: (N, H, W) at the input's size, an attribution, or attributions of every input value (N, C, H, W).
        perturbation: "noise": I is Gaussian of standard deviation ``size``, in the network's input range; "square": a
            square at a random place, ``size`` of the shorter side, falls back to the mean colour (the paper's square
            removal).
        size: see there.
        samples: evaluations of the network per image.
        normalise: see above.
        output: "logit" or "probability".
        seed: of the perturbations; the same serve every image.
        batch_size: samples in one pass; None takes as many as fit.

    Returns:
        (N,) >= 0, in the score's unit squared.

    Raises:
        ImageError, UnknownNameError (label), SettingError, ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.edge_map(model, vizkit.images.sample())
        >>> vizkit.evaluate.infidelity(model, vizkit.images.sample(), found, samples=2).shape
        (1,)
    """
    if perturbation not in PERTURBATIONS or samples < 1 or not size > 0:
        raise SettingError(
            f"perturbation={perturbation!r}, samples={samples}, size={size}: expected 'noise' or 'square', a positive "
            "number and a positive size."
        )
    job = Probe(
        "infidelity", model, image, target, output=output, input_range=input_range, fit=fit, batch_size=batch_size
    )
    phi = attributions(maps, job)
    baselines = reference("mean", job.batch, model.spec).astype(np.float64)
    sums = np.zeros((3, len(job)))

    def step(i: int, start: int, stop: int) -> None:
        drawn = [generator(seed, s) for s in range(start, stop)]
        if perturbation == "noise":
            change = np.stack([size * rng.standard_normal(job.x[i].shape) for rng in drawn])
        else:
            change = np.stack([_square(job.x[i] - baselines[i], size, rng) for rng in drawn])
        lost = job.original[i] - job.probe(i, model.ops.asarray(job.x[i] - change))
        predicted = (change * phi[i]).sum(axis=(1, 2, 3))
        sums[:, i] += (predicted**2).sum(), (predicted * lost).sum(), (lost**2).sum()

    job.each(samples, step)
    square, product, rest = sums
    beta = np.divide(product, square, out=np.zeros_like(square), where=square > 0) if normalise else 1.0
    return np.asarray((beta**2 * square - 2 * beta * product + rest) / samples)


def attributions(maps: Maps, job: Probe) -> Array:
    """(N, C or 1, H, W)."""
    given: npt.ArrayLike = maps.values if isinstance(maps, Attribution) else maps
    values = np.asarray(given, dtype=np.float64)
    if values.ndim != 4:
        return as_maps(values, count=len(job), size=job.size)[:, None]
    if values.shape != job.x.shape:
        raise ShapeError(f"Attributions of shape {values.shape} for inputs of shape {job.x.shape}.")
    return values


def _square(removed: Array, share: float, rng: np.random.Generator) -> Array:
    """``removed`` (C, H, W) inside a random square, zero elsewhere."""
    height, width = removed.shape[1:]
    side = max(1, min(height, width, round(share * min(height, width))))
    top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    out = np.zeros_like(removed)
    inside = np.s_[:, top : top + side, left : left + side]
    out[inside] = removed[inside]
    return out


def faithfulness_correlation(
    model: Model,
    image: ImageInput,
    maps: Maps,
    *,
    target: Target = None,
    subset: int | None = None,
    samples: int = 100,
    baseline: str = "black",
    output: str = "logit",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Array:
    """Faithfulness correlation (Bhatt, Weller & Moura 2020, arXiv 2005.00631). Higher is better.

    Pearson's correlation, over random subsets s of the pixels, of ``sum of M over s`` with
    ``S(I) - S(I with s replaced by the baseline)``. A constant map, or a score that never changes, has none: 0.

    Args:
        model, image, target, input_range, fit: as for :func:`vizkit.occlusion`.
        maps: (N, H, W) at the input's size, or an attribution.
        subset: pixels in a subset; None is the input's width, 224 as Quantus has it for a network of 224.
        samples: subsets, at least 2.
        baseline: "black", "mean" or "blurred".
        output: "logit" or "probability".
        seed: of the subsets; the same serve every image.
        batch_size: samples in one pass; None takes as many as fit.

    Returns:
        (N,) in -1..1.

    Raises:
        ImageError, UnknownNameError (label), SettingError, ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.edge_map(model, vizkit.images.sample())
        >>> vizkit.evaluate.faithfulness_correlation(model, vizkit.images.sample(), found, samples=3).shape
        (1,)
    """
    how: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size}
    job = Probe("faithfulness_correlation", model, image, target, output=output, **how)
    values = as_maps(maps, count=len(job), size=job.size)
    count = job.size[1] if subset is None else subset
    if samples < 2 or not 1 <= count <= values[0].size:
        raise SettingError(
            f"samples={samples}, subset={subset}: take at least 2 samples of 1 to {values[0].size} pixels."
        )
    baselines = reference(baseline, job.batch, model.spec)
    summed, lost = np.empty((2, len(job), samples))

    def step(i: int, start: int, stop: int) -> None:
        keep = np.ones((stop - start, values[0].size))
        for row, s in zip(keep, range(start, stop), strict=True):
            row[subset_of(values[0].size, count, seed, s)] = 0
        lost[i, start:stop] = job.original[i] - job.probe_mixed(i, keep.reshape(-1, *job.size), baselines[i])
        summed[i, start:stop] = (1 - keep) @ values[i].ravel()

    job.each(samples, step)
    return np.array([pearson(a, b) for a, b in zip(summed, lost, strict=True)])


def subset_of(pixels: int, count: int, seed: int, sample: int) -> Array:
    """The pixels of one sample, by their places in the flat picture."""
    return np.asarray(generator(seed, sample).choice(pixels, count, replace=False))
