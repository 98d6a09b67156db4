"""Which cells are held against which, and what comes out: rows of numbers, divergences, verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import numbers
from .cells import Cell
from .numbers import Side

BACKENDS, REFERENCE, NETWORKS = "backends", "reference", "networks"
"""Relations: one network in two backends; a backend's float32 and the judge's float64; two networks in one backend."""
PREFIX = "layers/"
VALUES, LOGITS = "values", "logits"
ALIKE = 3.0
"""Where the larger of two backends' errors against the judge is within this factor of the smaller, neither is off."""
FLIPS = 0.05
"""Up to this error of a map neither is off: so far was one and the same network seen from its own float64 on single
photos, where rounding sends a gradient through another ReLU or another place of a max-pool."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """``a`` is held against ``b``, in the arrays of both files that ``arrays`` names."""

    relation: str
    a: Cell
    b: Cell


def listed(cells: Sequence[Cell]) -> list[list[Pair]]:
    """The pairs of finished cells, in groups that read the same files."""
    ordered: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        ordered.setdefault((cell.technique, cell.image), []).append(cell)
    groups: list[list[Pair]] = []
    for alike in ordered.values():
        singles = [cell for cell in alike if cell.dtype == "float32"]
        networks = dict.fromkeys(cell.network for cell in alike)
        for network in networks:
            own = [cell for cell in singles if cell.network == network]
            judges = [cell for cell in alike if cell.network == network and cell.dtype == "float64"]
            pairs = [Pair(BACKENDS, a, b) for i, b in enumerate(own) for a in own[i + 1 :]]
            groups.append(pairs + [Pair(REFERENCE, a, b) for b in judges for a in own])
        across = [
            Pair(NETWORKS, a, b)
            for i, b in enumerate(singles)
            for a in singles[i + 1 :]
            if a.network != b.network and a.backend == b.backend
        ]
        groups.append(across)
    return [group for group in groups if group]


def rows(group: Sequence[Pair], folder: Path) -> Iterator[Row]:
    """A row of numbers for each array of each pair; every array is read, and ranked, once."""
    cells = {cell.file: cell for pair in group for cell in (pair.a, pair.b)}
    opened = {file: np.load(folder / file) for file in cells}
    try:
        for name in _arrays(group, opened):
            having = [pair for pair in group if all(name in opened[one.file] for one in (pair.a, pair.b))]
            needed = dict.fromkeys(cell.file for pair in having for cell in (pair.a, pair.b))
            sides = {file: Side(opened[file][name]) for file in needed}
            for pair in having:
                a, b = sides[pair.a.file], sides[pair.b.file]
                if a.values.shape == b.values.shape:
                    yield _row(pair, name, a, b)
    finally:
        for one in opened.values():
            one.close()


def _arrays(group: Sequence[Pair], opened: Mapping[str, Any]) -> list[str]:
    """Names of the compared arrays, in the order of computation."""
    found = dict.fromkeys(name for one in opened.values() for name in one.files)
    layers = group[0].relation != NETWORKS
    return [name for name in found if name in (VALUES, LOGITS) or (layers and name.startswith(PREFIX))]


def _row(pair: Pair, name: str, a: Side, b: Side) -> Row:
    found = numbers.compare(a, b)
    if name == LOGITS:
        found |= numbers.agreement(a.values, b.values)
    return {
        "relation": pair.relation,
        "technique": pair.a.technique,
        "image": pair.a.image,
        "array": name,
        "a": _side(pair.a),
        "b": _side(pair.b),
        "numbers": found,
    }


def _side(cell: Cell) -> dict[str, str]:
    named = cell.named()
    return {**{key: named[key] for key in ("model", "weights", "backend", "dtype")}, "file": cell.file}


def beyond(row: Row, tolerance: float) -> bool:
    """Whether the two backends of a row part: by more than the tolerance, or by something that is no number."""
    share = row["numbers"]["relative_l2"]
    return share is None or share > tolerance


def divergences(found: Sequence[Row], tolerance: float) -> list[Row]:
    """For each network, image and pair of backends the first layer, in the order of computation, at which they part.

    ``first`` is its array's name, None where there is no such layer; ``errors`` are both backends' errors against the
    judge there, and ``verdict`` says which is off.
    """
    out = []
    errors = _errors(found)
    compared: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        if row["relation"] == BACKENDS and row["array"].startswith(PREFIX):
            compared.setdefault((row["a"]["file"], row["b"]["file"]), []).append(row)
    for layers in compared.values():
        first = next((row for row in layers if beyond(row, tolerance)), None)
        worst = max(layers, key=lambda row: np.inf if beyond(row, np.inf) else row["numbers"]["relative_l2"])
        shown = first or worst
        out.append(
            {
                **{key: shown[key] for key in ("image", "a", "b")},
                "layers": len(layers),
                "tolerance": tolerance,
                "first": first and first["array"].removeprefix(PREFIX),
                "worst": worst["array"].removeprefix(PREFIX),
                "worst_relative_l2": worst["numbers"]["relative_l2"],
                **judged(shown, errors, tolerance),
            }
        )
    return out


def _errors(found: Sequence[Row]) -> dict[tuple[str, str], float | None]:
    """Relative L2 against the judge by file and array."""
    judged = [row for row in found if row["relation"] == REFERENCE]
    return {(row["a"]["file"], row["array"]): row["numbers"]["relative_l2"] for row in judged}


def judged(
    row: Row, errors: Mapping[tuple[str, str], float | None], tolerance: float, usual: float = 0.0
) -> dict[str, Any]:
    """Both backends' errors against the judge, and which of them is off.

    "equal": within the tolerance of each other. "float32": the larger of the two errors is at most ``usual``, or within
    :data:`ALIKE` times the smaller, so that it is the precision, not a backend. Else the name of the backend with the
    larger error; None without a judge.
    """
    sides = {row[key]["backend"]: errors.get((row[key]["file"], row["array"])) for key in ("b", "a")}
    if not beyond(row, tolerance):
        return {"errors": sides, "verdict": "equal"}
    known = {name: value for name, value in sides.items() if value is not None}
    if len(known) < 2:
        return {"errors": sides, "verdict": None}
    (_, low), (name, high) = sorted(known.items(), key=lambda item: item[1])
    return {"errors": sides, "verdict": "float32" if high <= max(ALIKE * low, usual) else name}


def verdicts(found: Sequence[Row], tolerance: float) -> list[Row]:
    """One for each row of two backends that is no layer: the numbers, both errors, and which of the two is off."""
    errors = _errors(found)
    return [
        {**row, **judged(row, errors, tolerance, FLIPS)}
        for row in found
        if row["relation"] == BACKENDS and row["array"] == VALUES
    ]


def worst(found: Sequence[Row]) -> float | None:
    """The largest relative L2 between two backends; infinite where one is no number, None where none was compared."""
    shares = [row["numbers"]["relative_l2"] for row in found if row["relation"] == BACKENDS]
    return max((np.inf if share is None else float(share) for share in shares), default=None)
