"""What an image is compared with, or has its pixels replaced by: black, the mean colour, its own blurred self."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..contract.backend import Array
from ..contract.errors import one_of
from ..contract.spec import InputSpec
from .images import Batch, normalise

REFERENCES = ("black", "mean", "blurred")
BLUR = 0.05
"""Standard deviation of the Gaussian blur, as a share of the shorter side."""


def reference(kind: str, batch: Batch, spec: InputSpec) -> Array:
    """Reference images (N, C, H, W) in the batch's input range and dtype.

    "black": every pixel 0 before normalisation; "mean": the normalisation's mean colour, zero in normalised input;
    "blurred": each image under a Gaussian of :data:`BLUR` times the shorter side, edges mirrored. Raises SettingError.
    """
    tensor = batch.tensor
    if kind == "blurred":
        if spec.extent:
            volume = tensor.reshape(len(tensor), *spec.shape)
            return blurred_along(volume, BLUR * min(spec.extent)).reshape(tensor.shape)
        return blurred(tensor, BLUR * min(tensor.shape[2:]))
    one_of("baseline", kind, REFERENCES)
    mean = np.asarray(spec.mean, dtype=tensor.dtype)[:, None, None]
    pixels = np.zeros_like(tensor) + (mean if kind == "mean" else np.zeros_like(mean))
    return normalise(pixels, spec) if batch.input_range != "unit" else pixels


def blurred(tensor: Array, sigma: float) -> Array:
    """(N, C, H, W) under a Gaussian of ``sigma`` pixels, cut at four of them, edges mirrored with the edge repeated."""
    rows, columns = (blur_matrix(side, float(sigma)) for side in tensor.shape[2:])
    return np.asarray(rows @ tensor.astype(np.float64) @ columns.T, dtype=tensor.dtype)


def blurred_along(tensor: Array, sigma: float) -> Array:
    """The same of any number of axes behind (N, C)."""
    found = tensor.astype(np.float64)
    for axis in range(2, tensor.ndim):
        matrix = blur_matrix(tensor.shape[axis], float(sigma))
        found = np.moveaxis(np.tensordot(matrix, found, (1, axis)), 0, axis)
    return np.asarray(found, dtype=tensor.dtype)


@lru_cache(maxsize=16)
def blur_matrix(side: int, sigma: float) -> Array:
    """(side, side) matrix of one axis' blur; each row sums to 1."""
    radius = max(1, int(4 * sigma + 0.5))
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    at = (np.arange(side)[:, None] + offsets) % (2 * side)
    at = np.where(at < side, at, 2 * side - 1 - at)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side)[:, None], at), weights / weights.sum())
    matrix.flags.writeable = False
    return matrix
