"""Features of a picture: superpixels by scikit-image's SLIC, the cells of a grid, or labels of one's own; and images of
which some are switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from ...contract.errors import SettingError, ShapeError
from ...inputs.images import Batch
from ...inputs.references import reference
from ...support.packages import needed
from ..common.job import Make
from ..common.method import Array, Attribution, Probe, Tensor

Segments = int | tuple[int, int] | Array


def superpixels(batch: Batch, segments: Segments, compactness: float = 10.0) -> Array:
    """Labels (N, H, W), from 0 without gaps in each image.

    ``segments``: about how many superpixels SLIC (Achanta et al. 2012) makes of each picture, rows and columns of a
    grid of cells as equal as whole pixels allow, or labels of one's own, (H, W) for all images or (N, H, W). SLIC needs
    scikit-image and raises VizkitError with the pip line without it.
    """
    n, _, height, width = batch.tensor.shape
    if isinstance(segments, int):
        if segments < 2:
            raise SettingError(f"segments={segments}: give at least 2, rows and columns, or an array of labels.")
        return np.stack([_slic(picture, segments, compactness) for picture in batch.pictures])
    labels = _cells(segments, (height, width)) if isinstance(segments, tuple) else np.asarray(segments)
    if labels.ndim == 2:
        labels = np.broadcast_to(labels, (n, *labels.shape))
    if labels.shape != (n, height, width) or labels.dtype.kind not in "iu":
        raise ShapeError(
            f"segments is {labels.dtype} of shape {np.shape(segments)}; give a number, rows and columns of a grid, or "
            f"integer labels of shape {(height, width)} or {(n, height, width)}."
        )
    return np.stack([np.unique(one, return_inverse=True)[1].reshape(height, width) for one in labels])


def _cells(grid: tuple[int, int], size: tuple[int, int]) -> Array:
    if len(grid) != 2 or not all(1 <= count <= side for count, side in zip(grid, size, strict=True)):
        raise SettingError(f"segments={grid}: give rows and columns of a grid, from 1 to the picture's {size} pixels.")
    rows, columns = (np.arange(side) * count // side for count, side in zip(grid, size, strict=True))
    return np.asarray(rows[:, None] * grid[1] + columns)


def _slic(picture: Array, count: int, compactness: float) -> Array:
    said = "SLIC needs scikit-image"
    slic = needed("skimage.segmentation", said, "vizkit[explain]", instead="give labels as segments").slic
    labels = slic(picture, n_segments=count, compactness=compactness, sigma=1.0, start_label=0, channel_axis=-1)
    return np.asarray(np.unique(labels, return_inverse=True)[1].reshape(labels.shape))


def _moments(z: Array, y: Array, w: Array) -> tuple[Array, Array]:
    """Sums of a weighted least-squares problem over samples z (B, K), y (B,) with weights w (B,): all that its solution
    needs. The last row and column belong to the constant."""
    whole = np.concatenate([z, np.ones((len(z), 1))], axis=1)
    weighted = (whole * w[:, None]).T
    return weighted @ whole, weighted @ y


def ridge(z: Array, y: Array, w: Array, alpha: float) -> tuple[Array, float]:
    """Coefficients (K,) and constant that minimise ``sum w (y - z b - c)^2 + alpha |b|^2``."""
    zz, zy = _moments(z, y, w)
    penalty = np.diag([*[alpha] * (len(zy) - 1), 0.0])
    found = np.linalg.lstsq(zz + penalty, zy, rcond=None)[0]
    return found[:-1], float(found[-1])


def constrained(z: Array, y: Array, w: Array, empty: float, full: float) -> Array:
    """Coefficients (K,) that minimise ``sum w (y - z b - empty)^2`` with ``sum b = full - empty`` exactly."""
    zz, zy = _moments(z, y, w)
    ones = np.ones((len(zz) - 1, 1))
    system = np.block([[zz[:-1, :-1], ones], [ones.T, np.zeros((1, 1))]])
    wanted = np.append(zy[:-1] - empty * zz[:-1, -1], full - empty)
    return np.asarray(np.linalg.lstsq(system, wanted, rcond=None)[0][:-1])


class Switches:
    """Images with some features switched off, made on the device: ``labels`` (N, H, W), ``counts`` of each image's
    features, and what switched-off ones show, ``baselines`` (N, C, H, W)."""

    def __init__(self, job: Probe, labels: Array, baselines: Array) -> None:
        self.job = job
        self.labels = labels
        self.counts = [int(one.max()) + 1 for one in labels]
        self._fill = job.uploaded(baselines)
        self._members = lru_cache(maxsize=1)(self._one_hot)

    @classmethod
    def of(cls, job: Probe, segments: Segments, baseline: str | None = None) -> Switches:
        """Those of a technique's settings, which go to the provenance. Without a baseline each call of :meth:`shown`
        brings what switched-off features show."""
        labels = superpixels(job.batch, segments)
        found = cls(job, labels, job.batch.tensor if baseline is None else fill(baseline, job, labels))
        own = {} if baseline is None else {"baseline": baseline}
        asked = segments if isinstance(segments, int | tuple) else "given"
        job.settings.update({"segments": asked, "features": found.counts, **own})
        return found

    def _one_hot(self, i: int) -> Tensor:
        """(K, H * W): ones where a superpixel is."""
        flat = self.labels[i].ravel()
        return self.job.model.ops.asarray(np.arange(flat.max() + 1)[:, None] == flat)

    def shown(self, i: int, z: Array, instead: Tensor = None) -> Tensor:
        """Inputs (B, C, H, W) in which of each feature the share in rows z (B, K), in 0..1, is kept; the rest is the
        baseline's, or that of ``instead`` (B, C, H, W)."""
        ops = self.job.model.ops
        keep = ops.reshape(ops.matmul(ops.asarray(z), self._members(i)), (len(z), 1, *self.job.size))
        return self.job.mixed(i, keep, self._fill(i) if instead is None else instead)

    def rows(self, z: Sequence[Array]) -> Make:
        """Image i as the rows of ``z[i]`` say, for :meth:`Probe.variants`."""
        return lambda i, which: self.shown(i, z[i][which.start : which.stop])

    def empty(self, i: int) -> float:
        """The score of an image with every feature switched off."""
        return float(self.job.probe(i, self.shown(i, np.zeros((1, self.counts[i]))))[0])

    def result(
        self, values: Sequence[Array], extra: Mapping[str, Sequence[Array]] | None = None, **more: Any
    ) -> Attribution:
        """The result of numbers for each image's features; ``extra`` are others that become maps, too. The labels are
        in ``extra["segments"]``."""
        painted = {
            name: np.stack([row[one] for one, row in zip(self.labels, rows, strict=True)])
            for name, rows in {"": values, **(extra or {})}.items()
        }
        found = self.job.result(painted.pop(""), extra=painted, **more)
        return replace(found, extra={**found.extra, "segments": self.labels})


def fill(kind: str, job: Probe, labels: Array) -> Array:
    """Baseline images (N, C, H, W): "segment", each superpixel's own mean colour, or one of
    :data:`vizkit.references.REFERENCES`."""
    if kind != "segment":
        return reference(kind, job.batch, job.model.spec)
    filled = np.empty_like(job.batch.tensor)
    for image, one, out in zip(job.batch.tensor, labels, filled, strict=True):
        counts = np.bincount(one.ravel())
        for channel, painted in zip(image, out, strict=True):
            painted[:] = (np.bincount(one.ravel(), channel.ravel()) / counts)[one]
    return filled
