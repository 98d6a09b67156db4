"""Features as places in a plane, and how far the places keep their neighbourhoods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...contract.backend import Array
from ...contract.errors import BackendMissingError, SettingError, one_of
from ...results.folders import NEIGHBOURS
from ...support.packages import needed
from .pooled import FEWEST, POOLS

METHODS = ("tsne", "umap", "pca")
JUDGED = 5000
"""Pictures on which trustworthiness and accuracies are computed at most; beyond, a seeded sample of so many is judged.
"""
ROWS = 1 << 14
"""Pictures whose features are in memory at once."""


def check_settings(method: str, pool: str, components: int, perplexity: float) -> None:
    one_of("method", method, METHODS)
    one_of("pool", pool, POOLS)
    if components < 2 or perplexity < 1:
        raise SettingError(f"components={components}, perplexity={perplexity}: take at least 2 and at least 1.")
    needed("sklearn", "An embedding needs scikit-learn", "vizkit[explain]", BackendMissingError)
    if method == "umap":
        umap_module()


def umap_module() -> Any:
    return needed("umap", "method='umap' needs umap-learn", "vizkit[umap]", BackendMissingError, "take method='tsne'")


def principal(features: Array, components: int) -> Array:
    """(N, D) projected on its first principal components: (N, min(components, N, D)) float64, the largest entry of
    each direction positive, so that the signs are the same everywhere."""
    count, size = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    parts = [slice(start, start + ROWS) for start in range(0, count, ROWS)]
    if size <= count:
        products = sum(centred.T @ centred for centred in (features[some] - mean for some in parts))
        _, vectors = np.linalg.eigh(products)
        scores = np.concatenate([(features[some] - mean) @ vectors[:, ::-1][:, :components] for some in parts])
    else:
        centred = features - mean
        values, vectors = np.linalg.eigh(centred @ centred.T)
        scores = vectors[:, ::-1][:, :components] * np.sqrt(np.maximum(values[::-1][:components], 0))
    peaks = np.take_along_axis(scores, np.abs(scores).argmax(axis=0)[None], axis=0)
    return np.asarray(scores * np.where(peaks < 0, -1.0, 1.0))


def place(reduced: Array, method: str, perplexity: float, seed: int) -> Array:
    if method == "pca":
        return reduced[:, :2].copy()
    if len(reduced) < FEWEST:
        raise SettingError(
            f"{len(reduced)} points have no neighbourhoods that {method} could show; give at least {FEWEST} pictures "
            "that can be read, or take method='pca'."
        )
    few = min(perplexity, (len(reduced) - 1) / 3)
    if method == "umap":
        fitted = umap_module().UMAP(n_neighbors=max(2, round(few)), random_state=seed, n_jobs=1)
        return np.asarray(fitted.fit_transform(reduced), np.float64)
    from sklearn.manifold import TSNE

    fitted = TSNE(2, perplexity=few, init="pca", learning_rate="auto", random_state=seed, n_jobs=-1)
    return np.asarray(fitted.fit_transform(reduced), np.float64)


def trust(features: Array, places: Array, seed: int) -> float:
    from sklearn.manifold import trustworthiness

    chosen = judged(len(places), seed)
    features, places = features[chosen], places[chosen]
    return float(trustworthiness(features, places, n_neighbors=min(NEIGHBOURS, (len(places) - 1) // 2)))


def judged(count: int, seed: int) -> Array:
    """Which of so many places are judged, in order."""
    if count <= JUDGED:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, JUDGED, replace=False))


def accuracies(features: Array, places: Array, labels: Sequence[str | None], seed: int) -> dict[str, float]:
    known = np.flatnonzero([label is not None for label in labels])
    known = known[judged(len(known), seed)]
    names, truth = np.unique([labels[k] for k in known], return_inverse=True)
    if len(names) < 2 or len(known) <= NEIGHBOURS:
        return {}
    chance = float(np.bincount(truth).max() / len(truth))
    return {
        "features": neighbour_accuracy(features[known], truth),
        "places": neighbour_accuracy(places[known], truth),
        "chance": chance,
    }


def neighbour_accuracy(points: Array, truth: Array, count: int = NEIGHBOURS) -> float:
    """Share of points (N, D) whose class ``truth`` (N,) most of the ``count`` nearest others have, by Euclidean
    distance; of equally many votes the class of the nearest counts."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(return_distance=False)
    votes = truth[nearest]
    scores = np.zeros((len(points), int(truth.max()) + 1))
    weights = 1 + 1e-3 * 0.5 ** np.arange(count)
    for rank, weight in enumerate(weights):
        scores[np.arange(len(points)), votes[:, rank]] += weight
    return float((scores.argmax(axis=1) == truth).mean())
