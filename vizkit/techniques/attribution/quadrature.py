"""Rules by which an integral over 0..1 becomes a sum."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array
from ...contract.errors import SettingError, one_of

RULES = ("gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid")


def quadrature(rule: str, steps: int) -> tuple[Array, Array]:
    """Nodes and weights on 0..1; the weights add up to 1. Raises SettingError."""
    one_of("rule", rule, RULES)
    least = 2 if rule == "riemann_trapezoid" else 1
    if steps < least:
        raise SettingError(f"steps={steps}: {rule} needs at least {least}.")
    if rule == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)  # type: ignore[no-untyped-call]
        return 0.5 * (1 + nodes), 0.5 * weights
    if rule == "riemann_trapezoid":
        weights = np.full(steps, 1 / (steps - 1))
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, steps), weights
    offset = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
    return (np.arange(steps) + offset) / steps, np.full(steps, 1 / steps)
