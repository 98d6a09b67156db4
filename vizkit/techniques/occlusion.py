"""Occlusion maps: what the score loses when a window is covered."""

from __future__ import annotations

import math

import numpy as np

from ..backend import Array, Model, Tensor
from ..errors import SettingError
from ..images import ImageInput
from ..references import reference
from ..results import Attribution
from ..targets import Target
from ._attribution import held
from ._perturbation import Probe

Side = int | tuple[int, int]


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
        image: path, Pillow image, uint8 (H, W, 3) array, a list of them, or a Batch.
        target: None (top-1), index, label, "all" (the sum of all logits), or a list with one per image.
        window: height and width in pixels, one number for both; None is a seventh of the input's side (32 of 224).
        stride: as window, at most the window; None is half of the window.
        baseline: "black", "mean" or "blurred", see :func:`vizkit.references.reference`.
        output: "logit" or "probability".
        batch_size: windows scored together; bounds memory, does not change the map. None fits 1 GiB.
        input_range, fit: see :func:`vizkit.images.prepare`.

    Returns:
        :class:`Attribution` with signed ``values`` (N, H, W): the mean loss of score, in the score's unit.

    Raises:
        ImageError, UnknownNameError (label), SettingError, ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.occlusion(model, vizkit.images.sample(), window=112, stride=112)
        >>> found.values.shape, len({*found.values.ravel().tolist()})
        ((1, 224, 224), 4)
    """
    job = Probe(
        "occlusion",
        model,
        image,
        target,
        output=output,
        input_range=input_range,
        fit=fit,
        batch_size=batch_size,
        baseline=baseline,
    )
    height, width = _pair(window, "window", tuple(max(1, round(side / 7)) for side in job.size))
    steps = _pair(stride, "stride", (max(1, height // 2), max(1, width // 2)))
    corners = _corners(job.size, (height, width), steps)
    ops, fill = model.ops, job.uploaded(reference(baseline, job.batch, model.spec))
    down, across = _covers(corners, (height, width), job.size)
    rows, columns = ops.asarray(down[:, None, :, None]), ops.asarray(across[:, None, None, :])

    def covered(i: int, which: range) -> Tensor:
        keep = 1.0 - rows[which.start : which.stop] * columns[which.start : which.stop]
        return job.mixed(i, keep, fill(i))

    scores = np.stack(job.variants(len(corners), covered))
    losses = job.original[:, None] - scores
    lost = np.einsum("nk,kh,kw->nhw", losses, down, across, optimize=True)
    return job.result(lost / (down.T @ across), signed=True, window=(height, width), stride=steps)


def _covers(corners: list[tuple[int, int]], window: tuple[int, int], size: tuple[int, int]) -> tuple[Array, Array]:
    """Which rows (K, H) and columns (K, W) each window covers, as ones."""
    starts = np.array(corners)
    rows, columns = (np.arange(side) - starts[:, axis, None] for axis, side in enumerate(size))
    down, across = (rows >= 0) & (rows < window[0]), (columns >= 0) & (columns < window[1])
    return down.astype(np.float64), across.astype(np.float64)


def _pair(given: Side | None, name: str, default: tuple[int, ...]) -> tuple[int, int]:
    wanted = default if given is None else (given, given) if isinstance(given, int) else tuple(given)
    if len(wanted) != 2 or min(wanted) < 1:
        raise SettingError(f"{name}={given!r}: give a positive number of pixels, or (height, width).")
    return wanted[0], wanted[1]


def _corners(size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]) -> list[tuple[int, int]]:
    """The top left corner of every window, row by row."""
    for side, extent, step in zip(size, window, stride, strict=True):
        if extent > side:
            raise SettingError(f"window={window} is larger than the input, {size}.")
        if step > extent and extent < side:
            raise SettingError(f"stride={stride} is larger than window={window}, so pixels between would never change.")
    starts = [
        [step * k for k in range(math.ceil((side - extent) / step) + 1)]
        for side, extent, step in zip(size, window, stride, strict=True)
    ]
    return [(top, left) for top in starts[0] for left in starts[1]]
