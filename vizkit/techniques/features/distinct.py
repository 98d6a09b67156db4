"""Layers that are worth a row of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...contract.backend import Model
from ...contract.errors import SettingError
from ...contract.units import find_units

MOST = 8192
"""Units of a layer beyond which they cannot be compared with one another."""
REPEATING = ("max_pool", "avg_pool", "dropout", "flatten", "identity")
"""Kinds of operations that only pass on what an earlier layer gave, and are left out unless named."""


def layers_of(model: Model, layers: Sequence[str] | None) -> list[str]:
    for name in layers or ():
        model.check_layer(name)
    known = {name: units.count for name in model.layers if (units := find_units(model, name)) is not None}
    if layers is None:
        return [name for name in _distinct(model, known) if known[name] <= MOST]
    wanted = [name for name in known if name in layers]
    large = [name for name in wanted if known[name] > MOST]
    if large or not wanted:
        raise SettingError(
            f"{large or list(layers)}: name layers with at most {MOST} units, channels over the picture or numbers "
            f"(N, C); {model.listing} lists them."
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
