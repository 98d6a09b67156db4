"""Rules and composites of layer-wise relevance propagation, for :func:`vizkit.lrp` and :func:`vizkit.crp`."""

from ...contract.backend import Evaluated, Rule, Rules
from .composites import COMPOSITES, Composite
from .lrp_rules import AlphaBeta, Epsilon, Flat, Gamma, Pass, WSquare, ZBox

__all__ = [
    "COMPOSITES",
    "AlphaBeta",
    "Composite",
    "Epsilon",
    "Evaluated",
    "Flat",
    "Gamma",
    "Pass",
    "Rule",
    "Rules",
    "WSquare",
    "ZBox",
]
