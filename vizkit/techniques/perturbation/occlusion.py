"""Occlusion maps: what the score loses when a window is covered."""

from __future__ import annotations

from functools import reduce
from operator import mul

import numpy as np

from ...inputs.references import reference
from ..common.method import Attribution, ImageInput, Model, Probe, Target, Tensor, held
from .windows import Side, corners_of, covers_of, sides_of


@held
def occlusion(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    window: Side | None = None,
    stride: Side | None = None,
    baseline: str = "black",
    output: str = "logit",
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Occlusion (Zeiler & Fergus 2013, arXiv 1311.2901), in captum's definition.

    ``M[p] = mean over the windows w that cover p of (S(I) - S(I with w replaced by the baseline))``. Windows start at
    0, stride, 2 stride, … until one reaches the far edge; what hangs over it is cut off. High where covering hurts.

    Args:
        model: a network of :func:`vizkit.load` or :func:`vizkit.wrap`.
        image: path, Pillow image, uint8 (H, W, 3) array, an array or tensor that is ready, or a list of them, see
            :func:`vizkit.images.prepare`.
        target: None (top-1), index, label, "all" (the sum of all logits), a score of :mod:`vizkit.targets`, or a list
            with one per image; a list for a single image gives a map for each.
        window: height and width in pixels, one number for both; None is a seventh of the input's side (32 of 224).
        stride: as window, at most the window; None is half of the window.
        baseline: "black", "mean" or "blurred", see :func:`vizkit.references.reference`.
        output: "logit" or "probability".
        batch_size: changed pictures scored together; bounds memory, does not change the map. None takes as many as fit.
        input_range, fit: see :func:`vizkit.images.prepare`.

    Returns:
        :class:`Attribution` with signed ``values`` (N, H, W): the mean loss of score, in the score's unit.

    Raises:
        ImageError, UnknownNameError (label), SettingError, ShapeError.

    Believe:
        Believe it first of all: it says what hiding a patch costs, at the patch's size.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.occlusion(model, vizkit.images.sample(), window=112, stride=112)
        >>> found.values.shape, len({*found.values.ravel().tolist()})
        ((1, 224, 224), 4)
    """
    job = Probe(
        "occlusion", model, image, target, output=output, input_range=input_range, fit=fit, batch_size=batch_size,
        baseline=baseline,
    )  # fmt: skip
    sides = model.spec.shape[1:]
    extent = sides_of(window, "window", sides, tuple(max(1, round(side / 7)) for side in sides))
    steps = sides_of(stride, "stride", sides, tuple(max(1, one // 2) for one in extent))
    corners = corners_of(sides, extent, steps)
    ops, fill = model.ops, job.uploaded(reference(baseline, job.batch, model.spec))
    covers = covers_of(corners, extent, sides)
    # Each axis by itself, so that their product is made on the device: (K, 1, H, 1) and (K, 1, 1, W) of a picture.
    along = [
        ops.asarray(one.reshape(len(one), 1, *(side if i == k else 1 for i, side in enumerate(sides))))
        for k, one in enumerate(covers)
    ]

    def covered(i: int, which: range) -> Tensor:
        parts = [one[which.start : which.stop] for one in along]
        keep = 1.0 - reduce(mul, parts)
        return job.mixed(i, ops.reshape(keep, (len(which), 1, *job.size)) if model.spec.extent else keep, fill(i))

    scores = np.stack(job.variants(len(corners), covered))
    losses = job.original[:, None] - scores
    axes = "hwd"[: len(sides)]
    cover = ",".join(f"k{axis}" for axis in axes)
    lost = np.einsum(f"nk,{cover}->n{axes}", losses, *covers, optimize=True)
    times = np.einsum(f"{cover}->{axes}", *covers, optimize=True)
    return job.result((lost / times).reshape(len(lost), *job.size), signed=True, window=extent, stride=steps)
