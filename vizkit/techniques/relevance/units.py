"""The relevance of a layer's units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...contract.backend import Leaves, Mode, Model, Ops, Tensor
from ...inputs import targets
from ...inputs.outputs import Dense, Table
from ..common.passes import LOGITS, Pass, differentiate
from .composites import Composite, composite
from .lrp import relevant


def at_layers(ops: Ops, done: Pass) -> Leaves:
    """Relevance as the layers put out their values."""
    return done.gradients


def unit_relevance(
    model: Model, layers: Sequence[str], target: int | str | None, rules: str | Composite
) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """From a batch (N, C, H, W) to the relevance of the outputs of ``layers`` for the target, None each one's top-1."""
    ops, table = model.ops, Table(Dense.of(model))
    mode = Mode(rules=composite(rules, model))
    index = None if target is None else model.spec.index(target, table.width)
    run = differentiate(model, at_layers, table=table, layers=layers, at_input=False, mode=mode, start=relevant)

    def look(x: Tensor) -> Mapping[str, Tensor]:
        marks = ops.asarray(targets.marks(model, table, [index] * len(x)))
        return {name: one for name, one in run({"x": x, "marks": marks}).items() if name != LOGITS}

    return look
