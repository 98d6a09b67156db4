"""Where the pictures of a folder lie: a layer's features in two dimensions."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..backend import OUTPUT, Array, Model
from ..errors import BackendMissingError, SettingError, ShapeError
from ..folders import Pictures, collect, stream
from ..images import Batch, ImageInput
from ..results import Result, provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("tsne", "umap", "pca")
POOLS = ("mean", "max", "none")
THUMBNAIL = 64
"""Side of a thumbnail in pixels."""
NEIGHBOURS = 10
"""Neighbours that trustworthiness and the nearest-neighbour accuracy look at."""
JUDGED = 5000
"""Pictures on which trustworthiness is computed at most; beyond, a seeded sample of so many is judged."""
BUDGET = 2 << 30
"""Bytes of features beyond which they are refused."""


@dataclass(frozen=True, repr=False)
class Embedding(Result):
    """``values`` (N, 2) float64: the pictures' places. ``features`` (N, D) in the model's dtype, ``thumbnails`` uint8
    (N, 64, 64, 3), ``names`` and ``labels`` (None: unknown) of the N pictures that could be read.

    ``trustworthiness`` in 0..1 (Venna & Kaski 2001): how far the neighbours in the picture are neighbours by their
    features. ``accuracy``: of the classification of each labelled picture by the vote of its 10 nearest others, by
    "features", by "places", and "chance", that of always answering the most frequent label; empty without labels."""

    features: Array
    thumbnails: Array
    names: tuple[str, ...]
    labels: tuple[str | None, ...]
    layer: str
    method: str
    trustworthiness: float
    accuracy: Mapping[str, float]

    def arrays(self) -> dict[str, Array]:
        labels = np.array([label or "" for label in self.labels])
        return {"values": self.values, "features": self.features, "names": np.array(self.names), "labels": labels}

    def comparable(self) -> tuple[str, Array]:
        """The features: the places of a chaotic optimisation part from the first rounding on."""
        return "features", self.features

    def records(self) -> list[dict[str, Any]]:
        """A row a picture."""
        rows = zip(self.names, self.labels, self.values.tolist(), strict=True)
        return [{"picture": name, "label": label, "x": x, "y": y} for name, label, (x, y) in rows]

    def text(self) -> str:
        """What the quality measures say, in a line."""
        said = f"trustworthiness {self.trustworthiness:.3f}"
        if self.accuracy:
            share = self.accuracy
            said += (
                f"; {NEIGHBOURS} nearest neighbours name the label of {share['places']:.1%} in the picture, "
                f"{share['features']:.1%} by the features, {share['chance']:.1%} by chance"
            )
        return said

    def figure(self) -> Figure:
        """The pictures at their places; where there is no room for one, a dot."""
        from ..plotting import embedding

        return embedding(self)


class _Features:
    """Pooled activations and thumbnails, one after the other."""

    def __init__(self, layer: str, pool: str, count: int) -> None:
        self.layer, self.pool, self.count = layer, pool, count
        self.places: list[int] = []
        self.features: list[Array] = []
        self.thumbnails: list[Array] = []

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        found = activations[self.layer]
        found = found.reshape(*found.shape[:2], -1)
        if self.pool == "none":
            found = found.reshape(len(found), -1)
        else:
            found = found.mean(axis=2, dtype=np.float64) if self.pool == "mean" else found.max(axis=2)
        self.features.append(found.astype(activations[self.layer].dtype))
        self.thumbnails += [thumbnail(picture) for picture in batch.pictures]
        self.places += places

    def state(self) -> dict[str, Array]:
        return {
            "places": np.array(self.places, np.int64),
            "features": np.concatenate(self.features),
            "thumbnails": np.stack(self.thumbnails),
        }

    def restore(self, arrays: Mapping[str, Array]) -> None:
        self.places = [int(place) for place in arrays["places"]]
        self.features, self.thumbnails = [arrays["features"]], list(arrays["thumbnails"])


def thumbnail(picture: Array) -> Array:
    """A small square copy, uint8 (64, 64, 3)."""
    return np.asarray(Image.fromarray(picture).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))


def embed(
    model: Model,
    pictures: Pictures | ImageInput,
    layer: str | None = None,
    *,
    method: str = "tsne",
    pool: str = "mean",
    components: int = 50,
    perplexity: float = 30.0,
    labels: Sequence[str | None] | None = None,
    seed: int = 0,
    state: str | os.PathLike[str] | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
    batch_size: int | None = None,
) -> Embedding:
    """The pictures of a folder in two dimensions, alike ones side by side, by what a layer makes of them: t-SNE (van
    der Maaten & Hinton 2008; Barnes-Hut, van der Maaten 2014), UMAP (McInnes et al. 2018, arXiv 1802.03426), or PCA.

    The layer's maps are averaged over their positions (``pool="mean"``), projected on their first ``components``
    principal components, and these are embedded, starting from the first two.

    Args:
        model: a network.
        pictures: a folder, a list of files, or whatever :func:`vizkit.folders.collect` takes.
        layer: any layer; None takes the last with maps, before those of the classes.
        method: "tsne", "umap" (needs umap-learn) or "pca".
        pool: "mean" or "max" over the positions, or "none", all positions as they are.
        components: principal components that are kept, at most as many as there are.
        perplexity: of t-SNE, or the neighbours of UMAP; lowered to a third of the pictures where there are few.
        labels: one for each picture in place of those from the folders' names.
        seed: of the optimisation; the same seed gives the same places on one machine.
        state: a file in which the pass over the pictures is kept, so that it goes on where it was stopped.
        input_range, fit: see :func:`vizkit.images.prepare`.
        batch_size: images in one pass; None fits 1 GiB.

    Returns:
        :class:`Embedding` with ``values`` (N, 2).

    Raises:
        ImageError, UnknownNameError, LayerError, ShapeError, SettingError, BackendMissingError for a missing package.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("shapes")
        >>> found = vizkit.embed(model, vizkit.zoo.shapes.sample(24, seed=1).images, method="pca")
        >>> found.values.shape
        (24, 2)
    """
    _check(method, pool, components, perplexity)
    listed = collect(pictures, labels)
    layer = layer or _default(model)
    model.check_layer(layer)
    shape = model.output_shape if layer == OUTPUT else model.layers[layer].shape
    if len(shape) not in (2, 4):
        raise ShapeError(f"Layer {layer!r} gives shape {shape}; features need (N, C, H, W) or (N, C).")
    size = math.prod(shape[1:] if pool == "none" else shape[1:2]) * len(listed) * np.dtype(model.dtype).itemsize
    if size > BUDGET:
        raise SettingError(
            f"The features of {len(listed)} pictures at {layer!r} take {size / 2**30:.1f} GiB; {BUDGET >> 30} are "
            "allowed. Take pool='mean', a smaller layer, or fewer pictures."
        )
    if len(listed) < 5:
        raise SettingError(f"{len(listed)} pictures have no neighbourhoods worth a map; give at least 5.")
    features = _Features(layer, pool, len(listed))
    passed = stream(
        model, listed, [layer], features, label="features", fit=fit, input_range=input_range, batch_size=batch_size,
        state=state, settings={"pool": pool},
    )  # fmt: skip
    found = features.state()
    reduced = principal(found["features"], components)
    places = _place(reduced, method, perplexity, seed)
    kept = [int(place) for place in found["places"]]
    named = tuple(listed.labels[place] for place in kept)
    settings = {
        "layer": layer, "method": method, "pool": pool, "components": reduced.shape[1], "perplexity": perplexity,
        "seed": seed, "input_range": input_range, "fit": fit,
    }  # fmt: skip
    made = provenance(model, "embed", settings) | {"images": passed.described()}
    return Embedding(
        places, made, found["features"], found["thumbnails"], tuple(listed.names[place] for place in kept), named,
        layer, method, _trust(reduced, places, seed), _accuracies(found["features"], places, named),
    )  # fmt: skip


def _check(method: str, pool: str, components: int, perplexity: float) -> None:
    for name, value, known in (("method", method, METHODS), ("pool", pool, POOLS)):
        if value not in known:
            raise SettingError(f"{name}={value!r}: expected {', '.join(map(repr, known))}.")
    if components < 2 or perplexity < 1:
        raise SettingError(f"components={components}, perplexity={perplexity}: take at least 2 and at least 1.")
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise BackendMissingError(
            "An embedding needs scikit-learn, which this Python does not have. Install it with: "
            "pip install 'vizkit[explain]'"
        ) from None
    if method == "umap":
        _umap()


def _umap() -> Any:
    try:
        import umap
    except ImportError:
        raise BackendMissingError(
            "method='umap' needs umap-learn, which this Python does not have. Install it with: "
            "pip install 'vizkit[umap]', or take method='tsne'."
        ) from None
    return umap


def _default(model: Model) -> str:
    """The last layer whose maps have an extent and are not those of the classes."""
    deep = [
        name
        for name, one in model.layers.items()
        if len(one.shape) == 4 and one.shape[2] * one.shape[3] > 1 and one.shape[1] != model.output_shape[1]
        if "dropout" not in one.kind.lower()
    ]
    return deep[-1] if deep else list(model.layers)[-1]


def principal(features: Array, components: int) -> Array:
    """(N, D) projected on its first principal components: (N, min(components, N, D)) float64, the largest entry of
    each direction positive, so that the signs are the same everywhere."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    count, size = centred.shape
    if size <= count:
        _, vectors = np.linalg.eigh(centred.T @ centred)
        scores = centred @ vectors[:, ::-1][:, :components]
    else:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        scores = vectors[:, ::-1][:, :components] * np.sqrt(np.maximum(values[::-1][:components], 0))
    peaks = np.take_along_axis(scores, np.abs(scores).argmax(axis=0)[None], axis=0)
    return np.asarray(scores * np.where(peaks < 0, -1.0, 1.0))


def _place(reduced: Array, method: str, perplexity: float, seed: int) -> Array:
    if method == "pca":
        return reduced[:, :2].copy()
    few = min(perplexity, (len(reduced) - 1) / 3)
    if method == "umap":
        fitted = _umap().UMAP(n_neighbors=max(2, round(few)), random_state=seed, n_jobs=1)
        return np.asarray(fitted.fit_transform(reduced), np.float64)
    from sklearn.manifold import TSNE

    fitted = TSNE(2, perplexity=few, init="pca", learning_rate="auto", random_state=seed, n_jobs=-1)
    return np.asarray(fitted.fit_transform(reduced), np.float64)


def _trust(features: Array, places: Array, seed: int) -> float:
    from sklearn.manifold import trustworthiness

    if len(places) > JUDGED:
        chosen = np.sort(np.random.default_rng(seed).choice(len(places), JUDGED, replace=False))
        features, places = features[chosen], places[chosen]
    return float(trustworthiness(features, places, n_neighbors=min(NEIGHBOURS, (len(places) - 1) // 2)))


def _accuracies(features: Array, places: Array, labels: Sequence[str | None]) -> dict[str, float]:
    known = np.array([label is not None for label in labels])
    names, truth = np.unique([label for label in labels if label is not None], return_inverse=True)
    if len(names) < 2 or known.sum() <= NEIGHBOURS:
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
