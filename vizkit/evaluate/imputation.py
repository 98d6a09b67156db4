"""ROAD: pixels removed in the map's order are filled in from their neighbours, so that the hole's shape is no clue."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..contract.backend import Array, Model
from ..contract.errors import SettingError
from ..inputs.images import ImageInput
from ..inputs.targets import Target
from ..support.packages import needed
from ..techniques.common.noise import generator
from ..techniques.common.probe import Probe
from ._maps import Maps, as_maps
from .faithfulness import Curves, places

OUTPUTS = ("accuracy", "probability", "logit")
PERCENTAGES = (10.0, 20.0, 30.0, 40.0, 50.0, 70.0, 90.0)


def road(
    model: Model,
    image: ImageInput,
    maps: Maps,
    *,
    target: Target = None,
    percentages: Sequence[float] = PERCENTAGES,
    order: str = "most",
    output: str = "accuracy",
    noise: float = 0.01,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Curves:
    """ROAD, remove and debias (Rong et al. 2022, arXiv 2202.00449). Lower is better for ``order="most"``, higher for
    ``order="least"``.

    For each percentage p, the p % most (or least) relevant pixels are replaced by noisy linear imputation, see
    :func:`impute`, and the network is asked again. The paper's measure is the accuracy: whether the class is still the
    top-1. ``auc`` is the mean over the percentages.

    Args:
        model, image, target, input_range, fit: as for :func:`vizkit.occlusion`.
        maps: (N, H, W) at the input's size, or an attribution. A constant map is one random order.
        percentages: of the pixels, above 0 and below 100.
        order: "most" relevant first or "least" relevant first.
        output: "accuracy" (the paper's), "probability" or "logit".
        noise: standard deviation of what is added to imputed values, in the network's input range.
        seed: of the noise, and of the order among pixels of equal value.
        batch_size: images in one pass; None takes as many as fit.

    Returns:
        :class:`Curves`.

    Raises:
        VizkitError without SciPy; ImageError, UnknownNameError (label), SettingError, ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.edge_map(model, vizkit.images.sample())
        >>> vizkit.evaluate.road(model, vizkit.images.sample(), found, percentages=[1]).scores.shape
        (1, 1)
    """
    if order not in ("most", "least") or output not in OUTPUTS:
        raise SettingError(
            f"order={order!r}, output={output!r}: expected 'most' or 'least', and one of {', '.join(OUTPUTS)}."
        )
    if not percentages or not all(0 < p < 100 for p in percentages):
        raise SettingError(f"percentages={percentages!r}: give at least one, all above 0 and below 100.")
    watched = "logit" if output == "accuracy" else output
    job = Probe("road", model, image, target, output=watched, input_range=input_range, fit=fit, batch_size=batch_size)
    classes = job.table.dense.classes
    if output == "accuracy" and any(index is None or index >= classes for index in job.chosen):
        raise SettingError("Only a class has an accuracy, and another target was given. Take output='logit'.")
    values = as_maps(maps, count=len(job), size=job.size) * (1 if order == "most" else -1)
    fractions = np.asarray(percentages, dtype=np.float64) / 100
    scores = np.empty((len(job), len(fractions)))

    def step(i: int, start: int, stop: int) -> None:
        place = places(values[i], seed)
        gone = [(k, place < round(fractions[k] * place.size)) for k in range(start, stop)]
        x = np.stack([impute(job.x[i], removed, noise, generator(seed, k + 1)) for k, removed in gone])
        found = job.table_of(model.ops.asarray(x))
        if output == "accuracy":
            scores[i, start:stop] = found[:, :classes].argmax(axis=1) == job.chosen[i]
        else:
            scores[i, start:stop] = job.read(found, [job.chosen[i]] * len(x), [output] * len(x))

    job.each(len(fractions), step)
    return Curves(fractions, scores, scores.mean(axis=1))


def impute(image: Array, removed: Array, noise: float = 0.0, rng: np.random.Generator | None = None) -> Array:
    """Noisy linear imputation (Rong et al. 2022, arXiv 2202.00449): each removed pixel is the weighted mean of its
    neighbours in the picture, 1/6 for the four next to it and 1/12 for the four diagonal ones, removed neighbours
    included: one sparse linear system. Then noise.

    Args:
        image: (C, H, W).
        removed: (H, W) of bool; not all.
        noise: standard deviation of Gaussian noise on the imputed values.
        rng: where the noise comes from; needed with noise.

    Returns:
        (C, H, W) float64.

    Raises:
        VizkitError without SciPy, SettingError when nothing is left to impute from.

    Example:
        >>> import numpy as np
        >>> impute(np.array([[[1.0, 0.0, 3.0]]]), np.array([[False, True, False]])).round(6)
        array([[[1., 2., 3.]]])
    """
    out = np.array(image, dtype=np.float64)
    if removed.all():
        raise SettingError("All pixels are removed; nothing is left to impute them from.")
    if not removed.any():
        return out
    modules = ("scipy.sparse", "scipy.sparse.linalg")
    sparse, linalg = (needed(one, "ROAD needs SciPy", "vizkit[explain]") for one in modules)
    gone = removed.ravel()
    rows = _neighbours(*removed.shape)[gone]
    system = (sparse.diags(np.ravel(rows.sum(axis=1))) - rows[:, gone]).tocsc()
    right = rows[:, ~gone] @ out[:, ~removed].T
    solved = np.asarray(linalg.spsolve(system, right)).reshape(right.shape)
    if noise:
        drawn = (rng if rng is not None else np.random.default_rng(0)).standard_normal(solved.shape)
        solved = solved + noise * drawn
    out[:, removed] = solved.T
    return out


@lru_cache(maxsize=4)
def _neighbours(height: int, width: int) -> Any:
    """Sparse (H W, H W): what the pixels next to each one weigh, and those that touch its corners."""
    from scipy import sparse

    down, across = (sparse.csr_matrix(np.eye(side, k=1) + np.eye(side, k=-1)) for side in (height, width))
    return (sparse.kronsum(across, down) / 6 + sparse.kron(down, across) / 12).tocsr()
