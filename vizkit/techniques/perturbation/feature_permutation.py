"""Feature permutation: what the score loses when a feature is another picture's."""

from __future__ import annotations

import numpy as np

from ..common.job import held, marked
from ..common.method import Attribution, ImageInput, Model, Probe, SettingError, Target, Tensor, pictures_only
from .coalitions import derangements
from .superpixels import Segments, Switches

needs_pictures = marked("needs_pictures")
"""Marks a method that takes several pictures, and none alone."""


@needs_pictures
@held
def feature_permutation(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    segments: Segments = 50,
    output: str = "logit",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Feature permutation (Fisher, Rudin & Dominici 2018, arXiv 1801.01489), for each picture as captum has it.

    ``M[p] = S(I_i) - S(I_i with the feature of p as it is in I_j)`` with ``j = q(i)``, where ``q`` is an order of the
    pictures, drawn for each feature. What replaces a feature is real, if out of place; no baseline has to be chosen.
    captum lets a picture keep its own feature, which then seems to do nothing; here ``q(i)`` is never i.

    Args: as :func:`vizkit.feature_ablation` has them, without a baseline, and
        image: a list of at least two different pictures, or a Batch of them: paths, Pillow images or uint8 (H, W, 3)
            arrays.
        segments: a feature takes over the same pixels of the other picture.
        seed: of the orders; that of a feature depends on the seed, its number and the number of pictures alone.

    Returns:
        :class:`Attribution` with signed ``values`` (N, H, W): the loss of score, in the score's unit, on all pixels of
        the feature. ``extra["segments"]`` are the labels (N, H, W).

    Raises:
        SettingError for fewer than two different pictures; VizkitError without scikit-image; ImageError,
        UnknownNameError (label), ShapeError.

    Believe:
        Believe the mean over many pictures of a kind; one map depends on which picture lent its pixels.

    Example:
        >>> import numpy as np, vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> pictures = [np.full((224, 224, 3), 40 * i, dtype=np.uint8) for i in range(3)]
        >>> vizkit.feature_permutation(model, pictures, segments=(2, 2)).values.shape
        (3, 224, 224)
    """
    pictures_only(model, "feature_permutation")
    job = Probe(
        "feature_permutation", model, image, target, output=output, input_range=input_range, fit=fit,
        batch_size=batch_size, seed=seed,
    )  # fmt: skip
    different = len(set(job.batch.digest()))
    if different < 2:
        raise SettingError(
            f"feature_permutation trades features between pictures and got {different}: give a list of at least two "
            "different pictures. For a single one take vizkit.feature_ablation."
        )
    switches, ops = Switches.of(job, segments), model.ops
    orders, pictures = derangements(len(job), max(switches.counts), seed), ops.asarray(job.batch.tensor)

    def permuted(i: int, which: range) -> Tensor:
        lent = ops.concat([pictures[j : j + 1] for j in orders[which.start : which.stop, i].tolist()])
        return switches.shown(i, 1.0 - np.eye(switches.counts[i])[which.start : which.stop], lent)

    scores = job.variants(switches.counts, permuted)
    return switches.result([full - one for full, one in zip(job.original, scores, strict=True)], signed=True)
