"""What a layer sees, in a few concepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..contract.backend import Array
from ..contract.ops import bilinear_matrix
from ..contract.terms import Prediction
from ..inputs.images import Batch
from .base import Result, chosen


@dataclass(frozen=True, repr=False)
class Factorization(Result):
    """``values`` (N, K, h, w): how much of each of K concepts is at each position of ``layer``, from 0 to 1 where it is
    strongest in any picture. ``concepts`` (K, C) are the activations that they stand for, ``scores`` (K, classes) the
    network's logits when it sees a concept everywhere, ``tops`` the most probable classes of each."""

    batch: Batch
    layer: str
    concepts: Array
    scores: Array
    tops: tuple[tuple[Prediction, ...], ...]
    stored: ClassVar[tuple[str, ...]] = ("values", "concepts", "scores")

    def enlarged(self) -> Array:
        """(N, K, H, W) float64: the same at the pictures' size, bilinear with half-pixel centres."""
        rows, columns = (
            bilinear_matrix(a, b) for a, b in zip(self.values.shape[2:], self.batch.pictures.shape[1:3], strict=True)
        )
        return np.asarray(rows @ self.values.astype(np.float64) @ columns.T)

    def regions(self) -> Array:
        """(N, H, W): the number of the concept that there is most of at each pixel."""
        return np.asarray(self.enlarged().argmax(axis=1))

    def label(self, component: int) -> str:
        """The most probable classes of a concept, with their probabilities."""
        return ", ".join(f"{one.label} {one.probability:.0%}" for one in self.tops[component])

    def records(self) -> list[dict[str, Any]]:
        """A row a concept: the share of the pictures in which it is the first, and its most probable class."""
        shares = np.bincount(self.regions().ravel(), minlength=len(self.tops)) / self.regions().size
        rows = zip(shares.tolist(), self.tops, strict=True)
        return [
            {"component": k, "share": share, "label": one[0].label, "probability": one[0].probability}
            for k, (share, one) in enumerate(rows)
        ]

    def arrays(self) -> dict[str, Array]:
        return super().arrays() | {"pictures": self.batch.pictures}

    def __getitem__(self, which: int | slice | Sequence[int]) -> Factorization:
        """One picture's concepts, or some pictures'."""
        some, made = chosen(self, which)
        return replace(self, values=self.values[some], provenance=made, batch=self.batch.part(some))
