"""The health of a network's units over a folder: dead, saturated and near-duplicate ones, and sparsity by depth."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import Array, Model
from ..errors import SettingError
from ..files import replacing
from ..folders import Pictures, collect, stream
from ..images import Batch, ImageInput
from ..results import Result, provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = ("units", "zeros", "dead", "always on", "saturated", "near-dup.")
COLUMNS = ("zeros", "dead", "always_on", "saturated", "duplicates")
GRID = 14
"""Rows and columns of a map that the comparison of units looks at, evenly spaced, at most."""
MOST = 8192
"""Units of a layer beyond which they cannot be compared with one another."""
REPEATING = ("max_pool", "avg_pool", "dropout", "flatten", "identity")
"""Kinds of operations that only pass on what an earlier layer gave, and are left out unless named."""


@dataclass(frozen=True)
class LayerHealth:
    """What one layer's C units did at all positions of all images, each (C,) float64: ``zeros`` share of exact zeros;
    ``positive`` share above zero; ``at_maximum`` share, beside the first one, exactly at the unit's own maximum;
    ``mean``, ``low``, ``high`` of the activation. ``pairs`` (P, 2) are the near-duplicate units, strongest first, and
    ``correlation`` (P,) theirs.
    """

    name: str
    kind: str
    zeros: Array
    positive: Array
    at_maximum: Array
    mean: Array
    low: Array
    high: Array
    pairs: Array
    correlation: Array
    saturation: float

    @property
    def rectified(self) -> bool:
        """Whether no activation was negative and some were zero, as after a ReLU."""
        return bool(self.low.min() >= 0 and self.zeros.max() > 0)

    @property
    def dead(self) -> Array:
        """(C,) bool: one value everywhere, which is zero behind a ReLU."""
        return np.asarray(self.high == self.low)

    @property
    def always_on(self) -> Array:
        """(C,) bool: in a rectified layer, above zero everywhere, so that the ReLU never acts: it is linear."""
        return np.asarray((self.positive == 1) & ~self.dead & self.rectified)

    @property
    def saturated(self) -> Array:
        """(C,) bool: not dead, and at its own maximum at more than ``saturation`` of all positions."""
        return np.asarray((self.at_maximum > self.saturation) & ~self.dead)

    @property
    def duplicated(self) -> Array:
        """(C,) bool: part of at least one near-duplicate pair."""
        return np.isin(np.arange(len(self.zeros)), self.pairs)


@dataclass(frozen=True, repr=False)
class Health(Result):
    """``values`` (layers, 5) float64 in 0..1: share of zero activations, and shares of units that are dead, always on,
    saturated, and near-duplicates of another. ``layers`` hold the numbers of each unit."""

    layers: tuple[LayerHealth, ...]

    def column(self, name: str) -> Array:
        """One column: "zeros", "dead", "always_on", "saturated" or "duplicates"."""
        return np.asarray(self.values[:, COLUMNS.index(name)])

    def table(self) -> str:
        """The table as text, one layer a line, in order of depth; counts of units behind the share of zeros."""
        width = max(5, *(len(layer.name) for layer in self.layers))
        head = "  ".join(f"{word:>{size}}" for word, size in zip(WORDS, (6, 7, 5, 9, 9, 9), strict=True))
        lines = [f"{'layer':<{width}}  {head}"]
        for layer, row in zip(self.layers, self.rows(), strict=True):
            _, units, _, _, dead, on, saturated, duplicated, *_ = row
            mark = "" if layer.rectified else "  not rectified"
            zeros = f"{float(layer.zeros.mean()):7.2%}"
            lines.append(
                f"{layer.name:<{width}}  {units:>6}  {zeros}  {dead:>5}  {on:>9}  {saturated:>9}  {duplicated:>9}{mark}"
            )
        return "\n".join(lines)

    def records(self) -> list[dict[str, Any]]:
        """A row a layer: the shares of ``values``, beside the number of units."""
        return [
            {"layer": one.name, "units": len(one.zeros), "rectified": one.rectified}
            | dict(zip(COLUMNS, shares, strict=True))
            for one, shares in zip(self.layers, self.values.tolist(), strict=True)
        ]

    def rows(self) -> list[tuple[str, ...]]:
        """A row a layer under :data:`HEAD`."""
        return [
            (
                layer.name,
                str(len(layer.zeros)),
                "yes" if layer.rectified else "no",
                f"{layer.zeros.mean():.6f}",
                *(str(int(flags.sum())) for flags in (layer.dead, layer.always_on, layer.saturated, layer.duplicated)),
                " ".join(f"{a}~{b}:{r:.4f}" for (a, b), r in zip(layer.pairs, layer.correlation, strict=True)),
                " ".join(map(str, np.flatnonzero(layer.dead))),
            )
            for layer in self.layers
        ]

    def arrays(self) -> dict[str, Array]:
        out = {"values": self.values, "layers": np.array([layer.name for layer in self.layers])}
        for layer in self.layers:
            for name in ("zeros", "positive", "at_maximum", "mean", "low", "high", "pairs", "correlation"):
                out[f"{layer.name}:{name}"] = getattr(layer, name)
        return out

    def save(self, path: str | os.PathLike[str]) -> Path:
        """As :meth:`Result.save`; ``.csv`` writes the table with the pairs and the dead units of each layer."""
        target = Path(path)
        if target.suffix != ".csv":
            return super().save(target)
        with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([HEAD, *self.rows()])
        return target

    def figure(self) -> Figure:
        """Share of zeros by depth above; shares of dead, always-on, saturated and near-duplicate units below."""
        from ..plotting import health

        return health([self])


HEAD = (
    "layer", "units", "rectified", "zeros", "dead", "always_on", "saturated", "near_duplicate",
    "near_duplicate_pairs", "dead_units",
)  # fmt: skip


class Tally:
    """Running counts and moments of one layer's units."""

    def __init__(self, units: int) -> None:
        self.count = 0
        self.zeros, self.positive, self.at, self.total = (np.zeros(units) for _ in range(4))
        self.low, self.high = np.full(units, np.inf), np.full(units, -np.inf)
        self.seen = 0
        self.sum, self.products = np.zeros(units), np.zeros((units, units))

    def add(self, found: Array) -> None:
        """One batch (n, C) or (n, C, H, W)."""
        maps, over = found.reshape(*found.shape[:2], -1), (0, 2)
        seen = maps.shape[0] * maps.shape[2]
        self.count += seen
        self.zeros += seen - np.count_nonzero(maps, axis=over)
        self.positive += np.count_nonzero(maps > 0, axis=over)
        self.total += maps.sum(axis=2, dtype=np.float64).sum(axis=0)
        self.low = np.minimum(self.low, maps.min(axis=over))
        high = maps.max(axis=over)
        here = np.count_nonzero(maps == high[:, None], axis=over)
        self.at = np.where(high > self.high, here, self.at + np.where(high == self.high, here, 0))
        self.high = np.maximum(self.high, high)
        steps = tuple(-(-side // GRID) for side in found.shape[2:])
        grid = found[(slice(None), slice(None), *(slice(None, None, step) for step in steps))]
        points = np.moveaxis(grid.reshape(*grid.shape[:2], -1), 1, 0).reshape(found.shape[1], -1).astype(np.float64)
        self.seen += points.shape[1]
        self.sum += points.sum(axis=1)
        self.products += points @ points.T

    def correlation(self) -> Array:
        """Pearson's (C, C) over the grid's positions of all images; 0 where a unit never changes."""
        mean = self.sum / self.seen
        covariance = self.products / self.seen - np.outer(mean, mean)
        variance = np.diagonal(covariance).copy()
        still = variance <= 1e-12 * np.maximum(np.diagonal(self.products) / self.seen, 1e-300)
        scale = np.sqrt(np.where(still, np.inf, variance))
        return np.asarray(covariance / scale[:, None] / scale)


class Tallies:
    """A tally for each layer."""

    def __init__(self, units: Mapping[str, int]) -> None:
        self.layers = {name: Tally(count) for name, count in units.items()}

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        for name, tally in self.layers.items():
            tally.add(activations[name])

    def state(self) -> dict[str, Array]:
        return {f"{name}:{key}": np.asarray(v) for name, one in self.layers.items() for key, v in vars(one).items()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        for name, tally in self.layers.items():
            for key, now in vars(tally).items():
                found = arrays[f"{name}:{key}"]
                setattr(tally, key, int(found) if isinstance(now, int) else found)


def health(
    model: Model,
    pictures: Pictures | ImageInput,
    layers: Sequence[str] | None = None,
    *,
    threshold: float = 0.95,
    saturation: float = 0.05,
    state: str | os.PathLike[str] | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
    batch_size: int | None = None,
) -> Health:
    """Dead, saturated and near-duplicate units of each layer over a folder, and its sparsity.

    A unit is **dead** when it has one value at every position of every image, zero behind a ReLU (Maas et al. 2013; Lu
    et al. 2019, arXiv 1903.06733); **always on** when, in a rectified layer, it is above zero everywhere, so that its
    ReLU never acts; **saturated** when it is not dead and more than ``saturation`` of its positions lie exactly at its
    own maximum, as behind a sigmoid or a ReLU6 at its end (Glorot & Bengio 2010). Two units are **near-duplicates**
    when Pearson's correlation of their maps, over all images and every position of a grid of at most 14 by 14 evenly
    spaced ones, is at least ``threshold``.

    Args:
        model: a network.
        pictures: a folder, a list of files, or whatever :func:`vizkit.folders.collect` takes.
        layers: names, in any order; None takes every layer with units but pools, dropouts and containers that repeat
            an earlier one. Reported in order of depth.
        threshold: correlation in 0..1 from which two units are near-duplicates.
        saturation: share of positions, 0..1.
        state: a file in which the run is kept, so that it goes on where it was stopped.
        input_range, fit: see :func:`vizkit.images.prepare`.
        batch_size: images in one pass; None fits 1 GiB. Memory does not depend on the number of images.

    Returns:
        :class:`Health` with ``values`` (layers, 5).

    Raises:
        ImageError, UnknownNameError, LayerError, SettingError, DivergedError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("shapes")
        >>> found = vizkit.health(model, vizkit.zoo.shapes.sample(12, seed=1).images, ["features.2", "features.9"])
        >>> bool((found.column("zeros") > 0.1).all())
        True
    """
    if not 0 < threshold <= 1 or not 0 < saturation < 1:
        raise SettingError(f"threshold={threshold}, saturation={saturation}: expected shares between 0 and 1.")
    wanted = _layers(model, layers)
    tallies = Tallies({name: model.layers[name].shape[1] for name in wanted})
    passed = stream(
        model, collect(pictures), wanted, tallies, label="health", fit=fit, input_range=input_range,
        batch_size=batch_size, state=state,
    )  # fmt: skip
    found = tuple(_judged(model, name, tallies.layers[name], threshold, saturation) for name in wanted)
    settings = {"layers": wanted, "threshold": threshold, "saturation": saturation}
    made = provenance(model, "health", settings | {"input_range": input_range, "fit": fit})
    values = np.array(
        [
            [float(flags.mean()) for flags in (one.zeros, one.dead, one.always_on, one.saturated, one.duplicated)]
            for one in found
        ]
    )
    return Health(values, made | {"images": passed.described()}, found)


def _layers(model: Model, layers: Sequence[str] | None) -> list[str]:
    for name in layers or ():
        model.check_layer(name)
    known = {name: layer for name, layer in model.layers.items() if len(layer.shape) in (2, 4)}
    if layers is None:
        return [name for name in _distinct(model, known) if known[name].shape[1] <= MOST]
    wanted = [name for name in known if name in layers]
    large = [name for name in wanted if known[name].shape[1] > MOST]
    if large or not wanted:
        raise SettingError(
            f"{large or list(layers)}: name layers of shape (N, C, H, W) or (N, C) with at most {MOST} units; "
            f"`vizkit layers {model.name}` lists them."
        )
    return wanted


def _distinct(model: Model, names: Iterable[str]) -> list[str]:
    """Of layers that are the same tensor by the network's graph only the first, and none that repeats an earlier one;
    all of them where the framework cannot show the graph."""
    try:
        graph = model.graph()
    except SettingError:
        return list(names)
    nodes = graph.by_name
    first: dict[str, str] = {}
    for name in names:
        node = nodes[graph.layers[name]]
        if node.kind not in REPEATING:
            first.setdefault(node.name, name)
    return list(first.values())


def _judged(model: Model, name: str, tally: Tally, threshold: float, saturation: float) -> LayerHealth:
    correlation = np.triu(tally.correlation(), 1)
    pairs = np.argwhere(correlation >= threshold)
    strength = correlation[tuple(pairs.T)]
    order = np.argsort(-strength, kind="stable")
    return LayerHealth(
        name,
        model.layers[name].kind,
        zeros=tally.zeros / tally.count,
        positive=tally.positive / tally.count,
        at_maximum=(tally.at - 1) / tally.count,
        mean=tally.total / tally.count,
        low=tally.low.astype(np.float64),
        high=tally.high.astype(np.float64),
        pairs=pairs[order],
        correlation=strength[order],
        saturation=saturation,
    )
