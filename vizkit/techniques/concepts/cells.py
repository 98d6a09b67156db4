"""The cells of an atlas: which activations lie in each, the direction they share, and the classes they speak for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from ...contract.backend import Array, Model, Tensor
from ...contract.errors import SettingError
from ..dreams.objective import FLOOR, OfLayer, Seen

EDGES = (0.5, 99.5)
"""Percentiles of the places that the map's edges are at; what lies beyond is drawn to them."""
RIDGE = 0.01
"""Added to the second moments' diagonal before they are inverted, as a share of its mean."""
LABELS = 3
"""Classes that a cell is named by at most."""


def within(places: Array) -> Array:
    """(V, 2) places in 0..1, x to the right and y downwards."""
    low, high = np.percentile(places, EDGES, axis=0)
    unit = np.clip((places - low) / np.where(high > low, high - low, 1.0), 0, 1)
    return np.column_stack([unit[:, 0], 1 - unit[:, 1]])


def layout(method: str | None, grid: int, least: int) -> str:
    """How activations are laid out where nobody says: by "umap" where that is installed, else by "tsne". Raises
    SettingError for a map without cells, or cells without activations."""
    if grid < 1 or least < 1:
        raise SettingError(f"grid={grid}, least={least}: take at least one cell, and one activation.")
    return method or ("umap" if find_spec("umap") else "tsne")


def binned(places: Array, grid: int, least: int) -> tuple[Array, Array, Array]:
    """Rows and columns (M, 2) of the cells with at least ``least`` of the places (V, 2), how many each holds (M,), and
    in which each place lies (V,), -1 for none. Raises SettingError where no cell has as many."""
    at = np.minimum((places[:, ::-1] * grid).astype(int), grid - 1)
    flat, inverse, counts = np.unique(at[:, 0] * grid + at[:, 1], return_inverse=True, return_counts=True)
    full = counts >= least
    if not full.any():
        raise SettingError(
            f"least={least}: no cell of this {grid} x {grid} map holds as many activations; the fullest has "
            f"{counts.max()}. Take a smaller grid, or more pictures."
        )
    number = np.where(full, np.cumsum(full) - 1, -1)
    return np.column_stack(np.divmod(flat[full], grid)), counts[full], number[inverse.ravel()]


def means(vectors: Array, cell: Array, count: int) -> Array:
    """(M, C) float64: the mean of the activations (V, C) of each cell."""
    total = np.zeros((count, vectors.shape[1]))
    np.add.at(total, cell[cell >= 0], vectors[cell >= 0].astype(np.float64))
    return np.asarray(total / np.bincount(cell[cell >= 0], minlength=count)[:, None])


def whitened(directions: Array, vectors: Array) -> Array:
    """(M, C) times the inverse of the activations' second moments ``V^T V / N``: what tells a direction from those that
    all share (Carter et al. 2019)."""
    values = vectors.astype(np.float64)
    moments = values.T @ values / len(values)
    ridge = RIDGE * np.trace(moments) / len(moments)
    return np.asarray(np.linalg.solve(moments + (ridge or 1.0) * np.eye(len(moments)), directions.T).T)


def named(
    model: Model, says: Array, classes: Array, cell: Array, count: int
) -> tuple[tuple[tuple[str, float], ...], ...]:
    """For each cell the classes for which its activations say the most, with their shares of all that speaks for a
    class."""
    found = []
    for k in range(count):
        own = cell == k
        total = np.bincount(classes[own], weights=np.maximum(says[own], 0.0))
        order = [int(one) for one in np.argsort(-total, kind="stable")[:LABELS] if total[one] > 0]
        found.append(tuple((model.spec.label(one), float(total[one] / total.sum())) for one in order))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Directions(OfLayer):
    """As :func:`vizkit.objectives.direction`, each picture with a direction of its own, (N, C)."""

    vectors: Array
    power: float

    def items(self) -> int:
        return len(self.vectors)

    def value(self, seen: Seen) -> Tensor:
        ops, maps = seen.ops, seen.maps(self.layer)
        unit = self.vectors / (np.linalg.norm(self.vectors, axis=1, keepdims=True) + FLOOR)
        dot = ops.sum(maps * ops.constant(_shaped, unit), 1)
        cosine = dot / ops.sqrt(ops.sum(maps * maps, 1) + FLOOR)
        return ops.mean(dot * ops.maximum(cosine, 0.1) ** self.power, (1, 2))

    def __repr__(self) -> str:
        digest = hashlib.sha256(self.vectors.tobytes()).hexdigest()[:12]
        return f"Directions(layer={self.layer!r}, vectors={digest!r}, power={self.power})"


def _shaped(vectors: Array) -> Array:
    return vectors[:, :, None, None]
