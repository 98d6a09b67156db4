"""The relevance of a layer's units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...contract.backend import Mode, Model, Tensor
from ...inputs.outputs import Dense
from ..common.passes import gradients_and_scores, looking
from .composites import Composite, composite
from .lrp import relevant


def unit_relevance(
    model: Model, layers: Sequence[str], target: int | str | None, rules: str | Composite
) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """From a batch (N, C, H, W) to the relevance of the outputs of ``layers`` for the target, None each one's top-1."""
    mode = Mode(rules=composite(rules, model))
    index = None if target is None else model.spec.index(target, Dense.of(model).classes)
    look = looking(model, gradients_and_scores, layers, index, mode=mode, start=relevant)
    return lambda x: {name: one for name, one in look(x).items() if name in layers}
