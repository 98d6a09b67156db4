"""Results about what a layer has in common over many pictures: concepts, atlases, caricatures, sprites."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..contract.backend import Array
from ..contract.errors import SettingError
from ..inputs import images
from ..inputs.images import Batch
from ..support.files import replacing
from .base import Pictured, Result
from .files import write_png


@dataclass(frozen=True, repr=False)
class Tcav(Result):
    """``values`` (K, S) float64: the TCAV score of each of K ``concepts`` in each of S splits, the share of the
    pictures whose class score rises along the concept. ``magnitudes`` (K, S): the mean derivative along it.
    ``random`` (S,): the score of a random concept, against the same random pictures. ``accuracy`` (K, S) of the
    classifiers on pictures held out, 0.5 by chance. ``p_values`` (K,) of a two-sided t-test of the scores against the
    random ones, times K (Bonferroni), at most 1. ``significant`` (K,): below ``alpha``. ``vectors`` (K, S, D): the unit
    concept activation vectors, of the layer's values laid flat. ``label``: the class."""

    concepts: tuple[str, ...]
    magnitudes: Array
    random: Array
    accuracy: Array
    p_values: Array
    vectors: Array
    layer: str
    label: str
    alpha: float
    stored: ClassVar[tuple[str, ...]] = (
        "values", "magnitudes", "random", "accuracy", "p_values", "vectors", "concepts",
    )  # fmt: skip

    @property
    def significant(self) -> Array:
        """(K,): whether a concept's scores differ from those of random concepts."""
        return np.asarray(self.p_values < self.alpha)

    def records(self) -> list[dict[str, Any]]:
        """A row a concept."""
        return [
            {"concept": name, "score": float(self.values[k].mean()), "spread": float(self.values[k].std(ddof=1))}
            | {"random": float(self.random.mean()), "magnitude": float(self.magnitudes[k].mean())}
            | {"accuracy": float(self.accuracy[k].mean()), "p": float(self.p_values[k])}
            | {"significant": bool(self.significant[k])}
            for k, name in enumerate(self.concepts)
        ]


@dataclass(frozen=True, repr=False)
class ConceptBank(Result):
    """``values`` (K, C) float64: K concepts as non-negative directions among the C channels of ``layer``, the most
    important first. ``importance`` (K,): their total Sobol indices for the class ``label``. ``coefficients`` (P, K):
    how much of each is in each of the P crops. ``best`` (K, B) are the places of the crops with the most of each,
    ``crops`` uint8 (K, B, H, W, 3) these, ``names`` their pictures and ``boxes`` (K, B, 4) where they lie there: top,
    left, bottom, right in pixels of the picture as the network sees it. ``error``: the norm of what the concepts leave
    of the crops' activations, as a share of their norm."""

    importance: Array
    coefficients: Array
    best: Array
    crops: Array
    names: tuple[tuple[str, ...], ...]
    boxes: Array
    layer: str
    label: str
    error: float
    stored: ClassVar[tuple[str, ...]] = ("values", "importance", "coefficients", "best", "crops", "boxes", "names")

    def records(self) -> list[dict[str, Any]]:
        """A row a concept, the most important first."""
        rows = zip(self.importance.tolist(), self.names, strict=True)
        return [{"concept": k, "importance": value, "best": names[0]} for k, (value, names) in enumerate(rows)]


@dataclass(frozen=True, repr=False)
class ConceptMaps(Result):
    """``values`` (N, K, H, W) in the model's dtype: where each of K concepts lies in N pictures, at the input's size;
    ``coefficients`` (N, K, h, w) float64 at the layer's. ``importance`` (K,) and ``layer`` as the bank has them."""

    coefficients: Array
    importance: Array
    layer: str
    batch: Batch
    stored: ClassVar[tuple[str, ...]] = ("values", "coefficients", "importance")

    def arrays(self) -> dict[str, Array]:
        return super().arrays() | {"pictures": self.batch.pictures}


@dataclass(frozen=True, repr=False)
class Caricature(Pictured):
    """``values`` (L, C, H, W) in 0..1, a picture for each of ``layers``; ``cosine`` (L,) between the layer's values for
    it and for the photo, 1 at best; ``photo`` uint8 (H, W, 3)."""

    layers: tuple[str, ...]
    cosine: Array
    photo: Array
    stored: ClassVar[tuple[str, ...]] = ("values", "cosine", "photo")
    compared: ClassVar[tuple[str, str]] = ("cosine", "cosine")


@dataclass(frozen=True, repr=False)
class SpriteMap(Result):
    """``values`` (U, C, S, S) in 0..1: a small picture of each of ``units`` of ``layer``; ``activation`` (U,) is what
    it reached, ``failed`` (U,) whether the unit never responded. ``columns`` sprites stand in a row."""

    layer: str
    units: tuple[int, ...]
    activation: Array
    failed: Array
    columns: int
    stored: ClassVar[tuple[str, ...]] = ("values", "activation", "failed", "units")
    compared: ClassVar[tuple[str, str]] = ("activation reached", "activation")

    def records(self) -> list[dict[str, Any]]:
        """A row a sprite: its unit, and where it lies in the sheet, in pixels."""
        side = self.values.shape[-1]
        return [
            {"unit": unit, "left": k % self.columns * side, "top": k // self.columns * side, "activation": float(value)}
            for k, (unit, value) in enumerate(zip(self.units, self.activation, strict=True))
        ]

    def sheet(self) -> Array:
        """All sprites as one picture, uint8 (rows * S, columns * S, 3), pixel beside pixel."""
        small = images.picture(self.values)
        count, side = small.shape[:2]
        rows = -(-count // self.columns)
        out = np.zeros((rows * self.columns, side, side, 3), np.uint8)
        out[:count] = small
        grid = out.reshape(rows, self.columns, side, side, 3).transpose(0, 2, 1, 3, 4)
        return np.ascontiguousarray(grid).reshape(rows * side, self.columns * side, 3)

    def save(self, path: str | os.PathLike[str], *, sheet: bool = False) -> Path:
        """As every result: the figure, with the units' numbers. With ``sheet`` a ``.png`` of the :meth:`sheet` alone,
        for programs that cut it by :meth:`records`; the provenance is inside. Raises SettingError for a sheet with
        another suffix."""
        target = Path(path)
        if not sheet:
            return super().save(target)
        if target.suffix != ".png":
            raise SettingError(f"Cannot save {str(target)!r}: a sheet is written as .png; take sheet=False for others.")
        with replacing(target) as temporary:
            write_png(self.sheet(), temporary, self.provenance)
        return target


@dataclass(frozen=True, repr=False)
class ActivationAtlas(Result):
    """``values`` (M, C) float64: the mean activation of the places that fall into each of M cells of a ``grid`` x
    ``grid`` map, row by row. ``cells`` (M, 2) row and column, ``counts`` (M,) how many places, ``icons`` (M, channels,
    S, S) in 0..1 what the cell's direction looks like. ``classes``: for each cell the labels most attributed, with
    their shares. ``places`` (V, 2) in 0..1 where each activation lies, ``cell`` (V,) in which cell, -1 in none, and
    ``picture`` (V,) the place of its picture among ``names``, those of all."""

    cells: Array
    counts: Array
    icons: Array
    classes: tuple[tuple[tuple[str, float], ...], ...]
    places: Array
    cell: Array
    picture: Array
    names: tuple[str, ...]
    layer: str
    grid: int
    stored: ClassVar[tuple[str, ...]] = ("values", "cells", "counts", "icons", "places", "cell", "picture", "names")

    def records(self) -> list[dict[str, Any]]:
        """A row a cell: its place, how many activations it holds, and the labels most attributed."""
        rows = zip(self.cells.tolist(), self.counts.tolist(), self.classes, strict=True)
        return [
            {"row": row, "column": column, "count": count, "classes": ", ".join(label for label, _ in classes)}
            for (row, column), count, classes in rows
        ]

    def pictures(self) -> Array:
        """uint8 (M, S, S, 3), for the eye."""
        return images.picture(self.icons)

    def at(self, row: int, column: int) -> int:
        """The cell at a row and a column of the grid. Raises SettingError where no activation lies."""
        found = np.flatnonzero((self.cells == (row, column)).all(axis=1))
        if not len(found):
            raise SettingError(f"No cell of this atlas lies at row {row}, column {column}; .cells lists all of them.")
        return int(found[0])
