"""Maps on the first component of what a layer holds at its positions: linear, or of a kernel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...contract.backend import Array, Tensor
from ...contract.errors import SettingError
from ...results.attribution import Attribution
from ..common.job import Job
from .combining import choose_layer, combined, finish

KERNELS = ("sigmoid", "rbf", "poly", "linear")
DEGREE = 3
"""Of the polynomial kernel, as scikit-learn has it."""
MOST = 4096
"""Positions beyond which the matrix of their kernel is too large to be decomposed in reasonable time."""


def projected(job: Job, layer: str | None, relu: bool, project: Callable[[Array], Array]) -> Attribution:
    """The whole of a method that makes a map (h, w) of what a layer holds (C, h, w), whatever the class."""
    (name, grid), ops = choose_layer(job.model, layer), job.model.ops
    _, kept = job.scores((name,))

    def maps(i: int) -> Tensor:
        return ops.asarray(project(ops.numpy(grid.maps(ops, kept[name][i]))[0])[None])

    cause = "the layer's activations are the same everywhere; take another layer."
    return finish(job, combined(job, grid, maps, relu), name, relu, cause=cause)


def projection(values: Array, centre: bool) -> Array:
    """(C, h, w) to (h, w): projected on the first right singular vector, signed as the channels' mean."""
    flat = values.reshape(len(values), -1).T.astype(np.float64)
    mean = flat.mean(axis=1)
    if centre:
        flat = flat - flat.mean(axis=0)
    _, _, right = np.linalg.svd(flat, full_matrices=False)
    return _signed(flat @ right[0], mean).reshape(values.shape[1:])


def kernel_projection(values: Array, kernel: str, gamma: float | None) -> Array:
    """(C, h, w) to (h, w): projected on the first component of kernel PCA over the positions, each channel less its
    mean, signed as the channels' mean."""
    flat = values.reshape(len(values), -1).T.astype(np.float64)
    if len(flat) > MOST:
        raise SettingError(
            f"The layer has {len(flat)} positions; kernel PCA compares each with each, and takes at most {MOST}. Take "
            "a deeper layer, or vizkit.eigencam."
        )
    gram = _gram(flat - flat.mean(axis=0), kernel, 1.0 / len(values) if gamma is None else gamma)
    gram = gram - gram.mean(axis=0) - gram.mean(axis=1, keepdims=True) + gram.mean()
    return _signed(_strongest(gram), flat.mean(axis=1)).reshape(values.shape[1:])


def _strongest(gram: Array) -> Array:
    """``sqrt(l) u`` for the largest eigenvalue ``l`` of a symmetric matrix and its vector, by Lanczos' steps, each made
    orthogonal to all before it: of a few thousand positions all eigenvectors take 30 times as long."""
    start = np.random.default_rng(0).normal(size=len(gram))
    steps: list[Array] = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        basis = np.array(steps)
        found = gram @ steps[-1]
        diagonal.append(float(found @ steps[-1]))
        for _ in range(2):  # what rounding left of the first time
            found = found - basis.T @ (basis @ found)
        rest = float(np.linalg.norm(found))
        strengths, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        if len(steps) == len(gram) or abs(rest * vectors[-1, -1]) <= 1e-15 * np.abs(strengths).max():
            return np.asarray(np.sqrt(max(float(strengths[-1]), 0.0)) * (vectors[:, -1] @ basis))
        steps.append(found / rest)
        beside.append(rest)


def _gram(x: Array, kernel: str, gamma: float) -> Array:
    products = x @ x.T
    if kernel == "linear":
        return products
    if kernel == "sigmoid":
        return np.asarray(np.tanh(gamma * products + 1.0))
    if kernel == "poly":
        return np.asarray((gamma * products + 1.0) ** DEGREE)
    squares = np.diag(products)
    return np.asarray(np.exp(-gamma * np.maximum(squares[:, None] + squares - 2 * products, 0.0)))


def _signed(found: Array, mean: Array) -> Array:
    """A component has no sign of its own."""
    return np.asarray(found if found @ mean >= 0 else -found)
