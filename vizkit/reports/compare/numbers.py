"""How far two arrays lie apart: every figure of the study, of raw values, before any normalisation.

Our own, SSIM too, since scikit-image is none of the core's needs, and a study has to run without it.
In all of them ``b`` is what ``a`` is held against; both are widened to float64 first. None means "not defined".

===================  ===================================================================================
``largest_absolute``   max |a - b|, in the arrays' own units
``largest_relative``   max |a - b| / max |b|
``relative_l2``        ||a - b|| / ||b||, Euclidean norms; 0 where both arrays are zero everywhere
``cosine``             a.b / (||a|| ||b||); not defined where one is zero everywhere
``pearson``            Pearson's correlation; not defined where one is constant
``spearman``           the same of the ranks, equal values sharing their mean rank
``ssim``               mean structural similarity (Wang et al. 2004) of planes (H, W), averaged over the channels:
                       windows of 7x7, sample covariance, K1 = 0.01, K2 = 0.03, L = max - min over both arrays, windows
                       wholly inside; not defined below 7x7, for vectors, or where L is 0
``top_intersection``   share of the 5 % positions of largest |a| that are also among those of |b|; among equal values
                       the earlier position counts first
===================  ===================================================================================
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ...contract.backend import Array
from ...evaluate.statistics import ranks

METRICS = {
    "largest_absolute": "largest difference",
    "largest_relative": "of the maximum",
    "relative_l2": "relative L2",
    "cosine": "cosine",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "ssim": "SSIM",
    "top_intersection": "top 5 % shared",
}
"""And the heads of their columns."""
WINDOW = 7
BLOCK = 16
"""Planes at a time: many small ones go fast, and few large ones fit."""
K1, K2 = 0.01, 0.03
SHARE = 0.05
Numbers = dict[str, float | None]


class Side:
    """One array, with what comparisons with several others need of it again and again."""

    def __init__(self, values: Array) -> None:
        self.values = np.asarray(values, dtype=np.float64)
        self.flat = self.values.ravel()
        self.finite = bool(np.isfinite(self.flat).all())

    @cached_property
    def norm(self) -> float:
        """Euclidean norm."""
        return float(np.linalg.norm(self.flat))

    @cached_property
    def range(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return float(self.flat.min()), float(self.flat.max())

    @cached_property
    def ranked(self) -> Array:
        """Ranks, from 1 for the smallest value."""
        return ranks(self.flat)

    @cached_property
    def top(self) -> Array:
        """Whether each position is among the :data:`SHARE` of largest size, of one at least."""
        size = np.abs(self.flat)
        count = max(1, round(SHARE * size.size))
        least = np.partition(size, size.size - count)[size.size - count]
        chosen: Array = size > least
        chosen[np.flatnonzero(size == least)[: count - int(chosen.sum())]] = True
        return chosen


def compare(a: Side, b: Side) -> Numbers:
    """All of :data:`METRICS` for two arrays of one shape; all None where a value is not finite."""
    if not (a.finite and b.finite):
        return dict.fromkeys(METRICS)
    gap = np.abs(a.flat - b.flat)
    largest, most = float(gap.max()), max(map(abs, b.range))
    return {
        "largest_absolute": largest,
        "largest_relative": _share(largest, most),
        "relative_l2": _share(float(np.linalg.norm(gap)), b.norm),
        "cosine": _product(a.flat, b.flat, a.norm, b.norm),
        "pearson": _correlation(a.flat, b.flat),
        "spearman": _correlation(a.ranked, b.ranked),
        "ssim": ssim(a, b),
        "top_intersection": float((a.top & b.top).sum() / b.top.sum()),
    }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else (None if part else 0.0)


def _product(a: Array, b: Array, norm_a: float, norm_b: float) -> float | None:
    if not (norm_a and norm_b):
        return None
    return float(np.clip((a / norm_a) @ (b / norm_b), -1, 1))


def _correlation(a: Array, b: Array) -> float | None:
    if a.min() == a.max() or b.min() == b.max():
        return None
    x, y = a - a.mean(), b - b.mean()
    return _product(x, y, float(np.linalg.norm(x)), float(np.linalg.norm(y)))


def ssim(a: Side, b: Side) -> float | None:
    """Mean structural similarity of (H, W) or (C, H, W), in -1..1; see the module."""
    span = max(a.range[1], b.range[1]) - min(a.range[0], b.range[0])
    if a.values.ndim not in (2, 3) or min(a.values.shape[-2:]) < WINDOW or not span:
        return None
    planes, others = (side.values.reshape(-1, *side.values.shape[-2:]) for side in (a, b))
    blocks = (slice(start, start + BLOCK) for start in range(0, len(planes), BLOCK))
    return float(np.mean([one.mean() for some in blocks for one in _similarity(planes[some], others[some], span)]))


def _similarity(a: Array, b: Array, span: float) -> Array:
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    sample = WINDOW**2 / (WINDOW**2 - 1)
    mean_a, mean_b = _window(a), _window(b)
    variances = sample * (_window(a * a) - mean_a**2 + _window(b * b) - mean_b**2)
    covariance = sample * (_window(a * b) - mean_a * mean_b)
    return np.asarray(
        (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))
    )


def _window(planes: Array) -> Array:
    """Means over windows wholly inside: (C, H, W) to (C, H - 6, W - 6)."""
    height, width = (size - WINDOW + 1 for size in planes.shape[1:])
    planes = np.asarray(sum(planes[:, k : k + height] for k in range(WINDOW)) / WINDOW)
    return np.asarray(sum(planes[:, :, k : k + width] for k in range(WINDOW)) / WINDOW)


def agreement(a: Array, b: Array, top: int = 5) -> Numbers:
    """Of two vectors of logits: ``top1``, 1 where both name the same class, else 0; ``top5``, the share of the ``top``
    most probable classes that they have in common. None where a value is not finite."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return {"top1": None, "top5": None}
    first, second = (np.argsort(-logits, kind="stable")[:top].tolist() for logits in (a, b))
    return {"top1": float(first[0] == second[0]), "top5": len({*first} & {*second}) / len(first)}
