"""Kernel SHAP on superpixels: Shapley values of the game in which superpixels are switched on."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np

from ..backend import Array, Model, Tensor
from ..errors import SettingError
from ..images import ImageInput
from ..results import Attribution
from ..targets import Target
from ._attribution import held
from ._checks import pictures_only
from ._noise import generator
from ._perturbation import Probe
from ._superpixels import Moments, Segments, Switches, fill, paint, superpixels


@held
def kernel_shap(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    segments: Segments = 50,
    samples: int = 1000,
    baseline: str = "black",
    output: str = "logit",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Kernel SHAP (Lundberg & Lee 2017, arXiv 1705.07874) over superpixels.

    ``b = argmin sum_z w(z) (S(I with the superpixels z kept) - S(baseline) - z b)^2`` subject to
    ``sum b = S(I) - S(baseline)``, and a pixel's value is its superpixel's coefficient: an estimate of its Shapley
    value. ``w(z) = (K - 1) / (C(K, k) k (K - k))`` for z with k of K ones. When all ``2^K - 2`` such z are no more than
    ``samples``, they are all taken and the Shapley values are exact. Else, as in captum, k is drawn with probability
    proportional to ``1 / (k (K - k))`` and z uniformly among those with k ones, each weighing the same. captum puts a
    weight of a million on the two end points where the constraint stands here; the limit of its weight is this.

    Args:
        model: a network of :func:`vizkit.load` or :func:`vizkit.wrap`.
        image: path, Pillow image, uint8 (H, W, 3) array, a list of them, or a Batch.
        target: None (top-1), index, label, "all" (the sum of all logits), a score of :mod:`vizkit.targets`, or a list
            with one per image; a list for a single image gives a map for each.
        segments: about how many SLIC superpixels (needs scikit-image), or integer labels (H, W) or (N, H, W).
        samples: evaluations of the network per image besides the two end points; at least the number of superpixels.
        baseline: what switched-off superpixels show: "black", "mean", "blurred", or "segment" (their mean colour).
        output: "logit" or "probability".
        seed: of the samples; sample i depends on the seed, i and the number of superpixels alone.
        batch_size: samples scored together; bounds memory, does not change the map. None fits 1 GiB.
        input_range, fit: see :func:`vizkit.images.prepare`.

    Returns:
        :class:`Attribution` with signed ``values`` (N, H, W), in the score's unit: each superpixel's share of
        ``S(I) - S(baseline)``, on all of its pixels. ``extra["segments"]`` are the labels (N, H, W).

    Raises:
        VizkitError without scikit-image; ImageError, UnknownNameError (label), SettingError, ShapeError.

    Example:
        >>> import numpy as np, vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> quarters = np.kron([[0, 1], [2, 3]], np.ones((112, 112), dtype=int))
        >>> vizkit.kernel_shap(model, vizkit.images.sample(), segments=quarters, samples=14).values.shape
        (1, 224, 224)
    """
    pictures_only(model, "kernel_shap")
    job = Probe(
        "kernel_shap",
        model,
        image,
        target,
        output=output,
        input_range=input_range,
        fit=fit,
        batch_size=batch_size,
        baseline=baseline,
        seed=seed,
    )
    labels = superpixels(job.batch, segments)
    features = [int(one.max()) + 1 for one in labels]
    if samples < max(features):
        raise SettingError(f"samples={samples} cannot tell {max(features)} superpixels apart: give at least as many.")
    baselines = fill(baseline, job, labels)
    switches = Switches(job, labels, baselines)
    counts = [min(samples, all_coalitions(count)) for count in features]

    def switched(i: int, which: range) -> Tensor:
        return switches.make(i, which, coalitions(features[i], samples, seed, which))

    values = np.empty((len(job), *job.size))
    for i, scores in enumerate(job.variants(counts, switched)):
        z, moments = switches.rows(i), Moments.empty(features[i])
        moments.add(z, scores, shapley_weights(z, samples))
        nothing = switches.make(i, range(counts[i], counts[i] + 1), np.zeros((1, features[i])))
        empty = float(job.probe(i, nothing)[0])
        values[i] = paint(labels[i], moments.constrained(empty, float(job.original[i])))
    found = job.result(values, signed=True, segments=features, samples=counts)
    return replace(found, extra={"segments": labels})


def all_coalitions(features: int) -> int:
    """How many subsets of the superpixels are neither empty nor full."""
    return int(2**features - 2)


def coalitions(features: int, samples: int, seed: int, which: range) -> Array:
    """Rows (B, K) of zeros and ones with these numbers: all subsets where they are few, else drawn by their weight."""
    if all_coalitions(features) <= samples:
        subsets = (np.arange(which.start + 1, which.stop + 1)[:, None] >> np.arange(features)) & 1
        return subsets.astype(np.float64)
    sizes_of_all = np.arange(1, features)
    chances = 1 / (sizes_of_all * (features - sizes_of_all))
    z = np.zeros((len(which), features))
    for row, number in zip(z, which, strict=True):
        rng = generator(seed, number)
        size = rng.choice(sizes_of_all, p=chances / chances.sum())
        row[rng.permutation(features)[:size]] = 1
    return z


def shapley_weights(z: Array, samples: int) -> Array:
    """The weight (B,) of each row: Shapley's kernel where all subsets are taken, one where they were drawn by it."""
    features = z.shape[1]
    if all_coalitions(features) > samples:
        return np.ones(len(z))
    sizes = map(int, z.sum(axis=1))
    return np.array([(features - 1) / (comb(features, k) * k * (features - k)) for k in sizes])
