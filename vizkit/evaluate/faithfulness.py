"""Does the score follow the map? Pixels are taken away or brought back in the map's order, or weighted by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract.backend import Array, Model
from ..contract.errors import SettingError
from ..inputs.images import ImageInput
from ..inputs.references import reference
from ..inputs.targets import Target
from ..techniques.common.noise import generator
from ..techniques.common.probe import Probe
from ._maps import Maps, as_maps


@dataclass(frozen=True)
class Curves:
    """Scores (N, K) of each image after these ``fractions`` (K,) of its pixels were changed, and one figure for each
    image, ``auc`` (N,): the area under the curve by the trapezoid rule, or what the metric says."""

    fractions: Array
    scores: Array
    auc: Array


def deletion(
    model: Model,
    image: ImageInput,
    maps: Maps,
    *,
    target: Target = None,
    steps: int = 50,
    baseline: str = "mean",
    output: str = "probability",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Curves:
    """The score as the most relevant pixels are taken away first (Petsiuk, Das & Saenko 2018, arXiv 1806.07421). Lower
    is better.

    ``AUC = mean by the trapezoid rule of S(I without its k most relevant pixels)`` for k from none to all in ``steps``
    equal steps. Removed pixels take the baseline, the paper's being the mean colour. The paper goes one row's worth of
    pixels at a time: ``steps=224`` for a network of 224.

    Args:
        model, image, target, input_range, fit: as for :func:`vizkit.occlusion`.
        maps: (N, H, W) at the input's size, or an attribution; signed values go in descending order.
        steps: evaluations of the network per image, one more than this.
        baseline: "mean", "black" or "blurred".
        output: "probability" (the paper's) or "logit".
        seed: of the order among pixels of equal value. A constant map is one random order.
        batch_size: images in one pass; None takes as many as fit.

    Returns:
        :class:`Curves`, ``auc`` in 0..1 for probabilities.

    Raises:
        ImageError, UnknownNameError (label), SettingError, ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.edge_map(model, vizkit.images.sample())
        >>> vizkit.evaluate.deletion(model, vizkit.images.sample(), found, steps=2).scores.shape
        (1, 3)
    """
    job = Probe(
        "deletion", model, image, target, output=output, input_range=input_range, fit=fit, batch_size=batch_size
    )
    return _by_share(job, maps, steps, baseline, seed, insert=False)


def insertion(
    model: Model,
    image: ImageInput,
    maps: Maps,
    *,
    target: Target = None,
    steps: int = 50,
    baseline: str = "blurred",
    output: str = "probability",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Curves:
    """The score as the most relevant pixels come back first (Petsiuk, Das & Saenko 2018, arXiv 1806.07421). Higher is
    better.

    ``AUC = mean by the trapezoid rule of S(baseline with the k most relevant pixels of I)``. The paper starts from the
    image blurred by an 11 x 11 kernel; this from :func:`vizkit.references.blurred`, whose blur is wider at 224.

    Args, Returns, Raises: as for :func:`deletion`.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.edge_map(model, vizkit.images.sample())
        >>> vizkit.evaluate.insertion(model, vizkit.images.sample(), found, steps=2).auc.shape
        (1,)
    """
    job = Probe(
        "insertion", model, image, target, output=output, input_range=input_range, fit=fit, batch_size=batch_size
    )
    return _by_share(job, maps, steps, baseline, seed, insert=True)


def _by_share(job: Probe, maps: Maps, steps: int, baseline: str, seed: int, *, insert: bool) -> Curves:
    if steps < 1:
        raise SettingError(f"steps={steps}: take at least 1.")
    values = as_maps(maps, count=len(job), size=job.size)
    fractions = np.linspace(0, 1, steps + 1)
    order = [places(one, seed)[None] for one in values]
    return curves(job, order, np.rint(fractions * values[0].size), fractions, baseline, insert=insert)


def curves(
    job: Probe, turns: Sequence[Array], counts: Array, fractions: Array, baseline: str, *, insert: bool = False
) -> Curves:
    """The scores when what has its turn before each of ``counts`` (K,) is replaced by the baseline, or alone is not;
    ``turns`` (C or 1, H, W) of each image say when a value has its. The area is the mean by the trapezoid rule."""
    hidden = job.uploaded(reference(baseline, job.batch, job.model.spec))
    scores = np.empty((len(job), len(counts)))

    def step(i: int, start: int, stop: int) -> None:
        gone = turns[i] < counts[start:stop, None, None, None]
        keep = job.model.ops.asarray(gone if insert else ~gone)
        scores[i, start:stop] = job.probe(i, job.mixed(i, keep, hidden(i)))

    job.each(len(counts), step)
    ends = scores if scores.shape[1] == 1 else (scores[:, 1:] + scores[:, :-1]) / 2
    return Curves(fractions, scores, ends.mean(axis=1))


def places(values: Array, seed: int) -> Array:
    """The place (H, W) of each pixel when the highest comes first, from 0; equal values in a seeded random order."""
    flat = values.ravel()
    order = np.lexsort((generator(seed, 0).random(flat.size), -flat))
    found = np.empty(flat.size, dtype=int)
    found[order] = np.arange(flat.size)
    return found.reshape(values.shape)


def average_drop(
    model: Model,
    image: ImageInput,
    maps: Maps,
    *,
    target: Target = None,
    baseline: str = "black",
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Array:
    """The share of its probability that a class loses when only what the map shows is kept (Chattopadhyay et al. 2018,
    arXiv 1710.11063). Lower is better.

    ``max(0, Y - O) / Y`` with ``Y`` the probability of the image and ``O`` that of ``m I + (1 - m) baseline``, where
    ``m`` is the map scaled to 0..1. A constant map keeps nothing. The paper gives the mean over images, in percent.

    Args:
        model, image, target, batch_size, input_range, fit: as for :func:`vizkit.occlusion`.
        maps: (N, H, W) at the input's size, or an attribution.
        baseline: "black" (the paper's), "mean" or "blurred".

    Returns:
        (N,) in 0..1.

    Raises:
        ImageError, UnknownNameError (label), SettingError, ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.edge_map(model, vizkit.images.sample())
        >>> vizkit.evaluate.average_drop(model, vizkit.images.sample(), found).shape
        (1,)
    """
    how: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size}
    whole, kept = _kept(Probe("average_drop", model, image, target, output="probability", **how), maps, baseline)
    return np.asarray(np.maximum(0, whole - kept) / whole)


def increase_in_confidence(
    model: Model,
    image: ImageInput,
    maps: Maps,
    *,
    target: Target = None,
    baseline: str = "black",
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Array:
    """Is the class more probable when only what the map shows is kept (Chattopadhyay et al. 2018, arXiv 1710.11063)?
    Higher is better.

    1 where ``Y < O``, with Y and O of :func:`average_drop`, else 0. The paper gives the mean over images, in percent.

    Args, Raises: as for :func:`average_drop`.

    Returns:
        (N,) of 0 and 1.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.edge_map(model, vizkit.images.sample())
        >>> float(vizkit.evaluate.increase_in_confidence(model, vizkit.images.sample(), found)[0]) in (0.0, 1.0)
        True
    """
    how: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size}
    job = Probe("increase_in_confidence", model, image, target, output="probability", **how)
    whole, kept = _kept(job, maps, baseline)
    return np.asarray(kept > whole, dtype=np.float64)


def _kept(job: Probe, maps: Maps, baseline: str) -> tuple[Array, Array]:
    """The class's probability (N,) for each image, and when that shows only what its map does."""
    values = as_maps(maps, count=len(job), size=job.size)
    low = values.min(axis=(1, 2), keepdims=True)
    span = values.max(axis=(1, 2), keepdims=True) - low
    keep = np.divide(values - low, span, out=np.zeros_like(values), where=span > 0)[:, None]
    mixed = keep * job.batch.tensor + (1 - keep) * reference(baseline, job.batch, job.model.spec)
    return job.original, job.read(job.tables(mixed, job.technique), job.chosen, job.outputs)
