"""Derivatives along directions of a layer."""

from __future__ import annotations

from dataclasses import dataclass

from ...contract.backend import Leaves, Ops, Tensor
from ..common.passes import Pass


@dataclass(frozen=True, eq=False)
class Along:
    """A reduction of a pass: the derivatives "slopes" (N, V) along vectors (D, V) of a layer's values laid flat."""

    layer: str
    vectors: Tensor

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        gradient = done.gradients[self.layer]
        return {"slopes": ops.matmul(ops.reshape(gradient, (len(gradient), -1)), self.vectors)}
