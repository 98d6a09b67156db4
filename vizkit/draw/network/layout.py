"""Places for a block's steps: ranks from left to right by the longest path, lanes that keep edges off the boxes.

Our own, since a general layout (graphviz, networkx) is a large dependency for graphs of at most a few dozen steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .steps import Item, Step

SWEEPS = 6
PORT = -1


@dataclass(frozen=True)
class Layout:
    """``ranks`` columns and ``lanes`` rows; ``at`` maps a step to (rank, lane), lanes counted from the middle line
    (0.0) downwards; ``paths`` maps an edge (source, target) to the places it passes between its ends. The port, where
    everything enters the block, is the step -1 at rank -1."""

    ranks: int
    lanes: int
    at: dict[int, tuple[int, float]]
    paths: dict[tuple[int, int], list[tuple[int, float]]]


def layout(found: Sequence[Step], item: Item) -> Layout:
    """The places of an item's steps. Edges from outside start at the port."""
    inside = set(item.steps)
    edges = [(k if k in inside else PORT, i) for i in item.steps for k in found[i].inputs]
    edges = list(dict.fromkeys(edges))
    rank = {PORT: -1}
    for i in item.steps:
        rank[i] = 1 + max((rank[source] for source, target in edges if target == i), default=-1)
    # An edge passes a point in every rank between its ends.
    passed = {edge: [(edge, column) for column in range(rank[edge[0]] + 1, rank[edge[1]])] for edge in edges}
    chains: dict[tuple[int, int], list[object]] = {edge: [edge[0], *passed[edge], edge[1]] for edge in edges}
    columns: dict[int, list[object]] = {}
    place: dict[object, int] = dict(rank.items())
    for (source, _), chain in chains.items():
        for step, point in enumerate(chain[1:-1], start=1):
            place[point] = rank[source] + step
    for point, column in sorted(place.items(), key=lambda item: _order(item[0])):
        columns.setdefault(column, []).append(point)
    pairs = [pair for chain in chains.values() for pair in pairwise(chain)]
    _untangle(columns, pairs)
    at: dict[object, tuple[int, float]] = {}
    for column, points in columns.items():
        for k, point in enumerate(points):
            at[point] = (column, k - (len(points) - 1) / 2)
    return Layout(
        max(rank.values()) + 1,
        max(len(points) for points in columns.values()),
        {i: at[i] for i in rank},
        {edge: [at[point] for point in chain[1:-1]] for edge, chain in chains.items()},
    )


def _order(point: object) -> tuple[int, int]:
    """Steps in order of computation; a passing edge after the steps beside its target."""
    if isinstance(point, tuple):
        (source, target), _ = point
        return target, source
    return (point, 0) if isinstance(point, int) else (0, 0)


def _untangle(columns: dict[int, list[object]], pairs: Sequence[tuple[object, object]]) -> None:
    """Order every column by the mean place of its neighbours, forth and back; ties keep their order."""
    before: dict[object, list[object]] = {}
    after: dict[object, list[object]] = {}
    for source, target in pairs:
        before.setdefault(target, []).append(source)
        after.setdefault(source, []).append(target)
    for sweep in range(SWEEPS):
        near = before if sweep % 2 == 0 else after
        for column in sorted(columns, reverse=sweep % 2 == 1):
            points = columns[column]
            height = {
                point: k - (len(one) - 1) / 2
                for one in (columns.get(column - 1, []), columns.get(column + 1, []))
                for k, point in enumerate(one)
            }
            own = {point: k - (len(points) - 1) / 2 for k, point in enumerate(points)}
            mean = {
                point: sum(height[n] for n in near[point]) / len(near[point]) if near.get(point) else own[point]
                for point in points
            }
            keys = {point: (round(mean[point], 6), own[point]) for point in points}
            columns[column] = sorted(points, key=keys.__getitem__)
