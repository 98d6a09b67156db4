"""Optimisers on native tensors, written once."""

from __future__ import annotations

from .backend import Ops, Tensor


class Adam:
    """Adam (Kingma & Ba 2014, arXiv 1412.6980), elementwise, with bias correction; minimises.

    ``x <- x - lr * m / (sqrt(v) + eps)`` with ``m`` and ``v`` the corrected running means of the gradient (beta1) and
    of its square (beta2).
    """

    def __init__(self, ops: Ops, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        self.ops = ops
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps
        self.count = 0
        self.first: Tensor = None
        self.second: Tensor = None

    def step(self, x: Tensor, gradient: Tensor) -> Tensor:
        """The next ``x``."""
        self.count += 1
        fresh = (1.0 - self.beta1) * gradient
        squared = (1.0 - self.beta2) * gradient * gradient
        self.first = fresh if self.count == 1 else self.beta1 * self.first + fresh
        self.second = squared if self.count == 1 else self.beta2 * self.second + squared
        scale = self.lr / (1.0 - self.beta1**self.count)
        root = self.ops.sqrt(self.second) * (1.0 - self.beta2**self.count) ** -0.5 + self.eps
        return x - scale * self.first / root
