"""Optimisers on native tensors, written once. All minimise; each holds the state of one tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from .backend import Ops, Tensor
from .errors import unknown


class Optimiser(ABC):
    """``step(x, gradient)`` gives the next ``x``. ``count`` steps were taken; ``moments`` are the running means that
    :meth:`restore` takes back, by name, perhaps at another size."""

    moments: ClassVar[tuple[str, ...]] = ()

    def __init__(self, ops: Ops, lr: float) -> None:
        self.ops = ops
        self.lr = lr
        self.count = 0

    @abstractmethod
    def step(self, x: Tensor, gradient: Tensor) -> Tensor:
        """The next ``x``."""

    def state(self) -> dict[str, Tensor]:
        """The running means, by name; empty before the first step."""
        return {name: getattr(self, name) for name in self.moments} if self.count else {}

    def restore(self, count: int, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        self.count = count
        for name, value in state.items():
            setattr(self, name, value)


class Adam(Optimiser):
    """Adam (Kingma & Ba 2014, arXiv 1412.6980), elementwise, with bias correction.

    ``x <- x - lr * m / (sqrt(v) + eps)`` with ``m`` and ``v`` the corrected running means of the gradient (beta1) and
    of its square (beta2).
    """

    moments = ("first", "second")

    def __init__(self, ops: Ops, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        super().__init__(ops, lr)
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps
        self.first: Tensor = None
        self.second: Tensor = None

    def step(self, x: Tensor, gradient: Tensor) -> Tensor:
        self._remember(gradient)
        scale = self.lr / (1.0 - self.beta1**self.count)
        return x - scale * self.first / self._root()

    def _remember(self, gradient: Tensor) -> None:
        self.count += 1
        fresh = (1.0 - self.beta1) * gradient
        squared = (1.0 - self.beta2) * gradient * gradient
        self.first = fresh if self.count == 1 else self.beta1 * self.first + fresh
        self.second = squared if self.count == 1 else self.beta2 * self.second + squared

    def _root(self) -> Tensor:
        return self.ops.sqrt(self.second) * (1.0 - self.beta2**self.count) ** -0.5 + self.eps


class NAdam(Adam):
    """Adam with Nesterov's momentum (Dozat 2016), without a schedule of beta1.

    ``m`` is replaced by ``beta1 * m / (1 - beta1^(t + 1)) + (1 - beta1) * g / (1 - beta1^t)``.
    """

    def step(self, x: Tensor, gradient: Tensor) -> Tensor:
        self._remember(gradient)
        ahead = self.beta1 / (1.0 - self.beta1 ** (self.count + 1))
        now = (1.0 - self.beta1) / (1.0 - self.beta1**self.count)
        return x - self.lr * (ahead * self.first + now * gradient) / self._root()


class NormalisedAscent(Optimiser):
    """Steps against the gradient over the mean of its absolute values, for each item of the batch (as DeepDream takes
    them, Mordvintsev et al. 2015)."""

    def step(self, x: Tensor, gradient: Tensor) -> Tensor:
        self.count += 1
        axes = tuple(range(1, len(gradient.shape)))
        size = self.ops.mean(self.ops.abs(gradient), axes, keepdims=True) + 1e-12
        return x - self.lr * (gradient / size)


OPTIMISERS: dict[str, Callable[[Ops, float], Optimiser]] = {"adam": Adam, "nadam": NAdam, "ascent": NormalisedAscent}


def optimiser(name: str, ops: Ops, lr: float) -> Optimiser:
    """One of :data:`OPTIMISERS` by name; UnknownNameError for another."""
    if name not in OPTIMISERS:
        raise unknown("optimiser", name, OPTIMISERS)
    return OPTIMISERS[name](ops, lr)
