"""Many methods of the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..contract.backend import Array
from .attribution import Attribution
from .base import Result, places


@dataclass(frozen=True, repr=False)
class Explanation(Result):
    """``results[target][model][method]`` are the :class:`Attribution` results; ``values`` (targets, models, methods, N,
    H, W) all their maps, in the model's units, never scaled."""

    results: tuple[tuple[tuple[Attribution, ...], ...], ...]
    overlay: bool
    scale: str
    cmap: str

    def __len__(self) -> int:
        return int(self.values.shape[3])

    def __getitem__(self, which: int | slice | Sequence[int]) -> Explanation:
        """One picture's maps, or some pictures'."""
        some = places(len(self), which)
        results = tuple(tuple(tuple(one[some] for one in row) for row in block) for block in self.results)
        made = dict(self.provenance) | {"results": [[[one.provenance for one in row] for row in b] for b in results]}
        return replace(self, values=self.values[:, :, :, some], provenance=made, results=results)

    def arrays(self) -> dict[str, Array]:
        """``values``, ``pictures``, and each result's further arrays as "TARGET/MODEL/METHOD/NAME", by number."""
        out = {"values": self.values, "pictures": self.results[0][0][0].batch.pictures}
        for t, of_target in enumerate(self.results):
            for m, of_model in enumerate(of_target):
                for k, result in enumerate(of_model):
                    out |= {f"{t}/{m}/{k}/{name}": value for name, value in result.extra.items()}
        return out

    def __repr__(self) -> str:
        t, m, k, n = self.values.shape[:4]
        return f"<explanation: {k} methods of {n} pictures, {t} targets, {m} models>"
