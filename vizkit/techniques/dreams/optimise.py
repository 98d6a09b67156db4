"""Optimisers on native tensors, written once. All minimise; none holds anything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from ...contract.backend import Ops, Tensor
from ...contract.errors import check_known

State = dict[str, Tensor]


class Optimiser(ABC):
    """``step(x, gradient, state)`` gives the next ``x`` and state, from :meth:`start` on, and changes nothing. All that
    differs from step to step is in the state, so that a device can repeat the step by itself."""

    moments: ClassVar[tuple[str, ...]] = ()
    """Parts of the state that have the shape of ``x``."""

    def __init__(self, ops: Ops, lr: float) -> None:
        self.ops = ops
        self.lr = lr

    def start(self, x: Tensor) -> State:
        """The state before the first step."""
        return {}

    @abstractmethod
    def step(self, x: Tensor, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        """The next ``x``, and the state after it."""


class Adam(Optimiser):
    """Adam (Kingma & Ba 2014, arXiv 1412.6980), elementwise, with bias correction.

    ``x <- x - lr * m / (sqrt(v) + eps)`` with ``m`` and ``v`` the corrected running means of the gradient (beta1) and
    of its square (beta2). What corrects them is the same running mean of ones, ``1 - beta^t`` after t steps.
    """

    moments = ("first", "second")

    def __init__(self, ops: Ops, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        super().__init__(ops, lr)
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps

    def start(self, x: Tensor) -> State:
        one = self.ops.zeros((1,) * len(x.shape))
        return {"first": 0.0 * x, "second": 0.0 * x, "first_of_ones": one, "second_of_ones": 1.0 * one}

    def step(self, x: Tensor, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        state = self._remember(gradient, state)
        return x - self.lr * (state["first"] / state["first_of_ones"]) / self._root(state), state

    def _remember(self, gradient: Tensor, state: State) -> State:
        return {
            "first": self.beta1 * state["first"] + (1.0 - self.beta1) * gradient,
            "second": self.beta2 * state["second"] + (1.0 - self.beta2) * gradient * gradient,
            "first_of_ones": self.beta1 * state["first_of_ones"] + (1.0 - self.beta1),
            "second_of_ones": self.beta2 * state["second_of_ones"] + (1.0 - self.beta2),
        }

    def _root(self, state: State) -> Tensor:
        return self.ops.sqrt(state["second"] / state["second_of_ones"]) + self.eps


class NAdam(Adam):
    """Adam with Nesterov's momentum (Dozat 2016), without a schedule of beta1.

    ``m`` is replaced by ``beta1 * m / (1 - beta1^(t + 1)) + (1 - beta1) * g / (1 - beta1^t)``.
    """

    def step(self, x: Tensor, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        state = self._remember(gradient, state)
        ones = state["first_of_ones"]
        ahead = self.beta1 * (state["first"] / (self.beta1 * ones + (1.0 - self.beta1)))
        return x - self.lr * (ahead + (1.0 - self.beta1) * (gradient / ones)) / self._root(state), state


class NormalisedAscent(Optimiser):
    """Steps against the gradient over the mean of its absolute values, for each item of the batch (as DeepDream takes
    them, Mordvintsev et al. 2015)."""

    def step(self, x: Tensor, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        axes = tuple(range(1, len(gradient.shape)))
        size = self.ops.mean(self.ops.abs(gradient), axes, keepdims=True) + 1e-12
        return x - self.lr * (gradient / size), state


OPTIMISERS: dict[str, Callable[[Ops, float], Optimiser]] = {"adam": Adam, "nadam": NAdam, "ascent": NormalisedAscent}


def optimiser(name: str, ops: Ops, lr: float) -> Optimiser:
    """One of :data:`OPTIMISERS` by name; UnknownNameError for another."""
    check_known("optimiser", name, OPTIMISERS)
    return OPTIMISERS[name](ops, lr)
