"""Other backward rules for ReLU on MXNet arrays."""

from __future__ import annotations

from typing import Any

from mxnet import autograd, nd


def redirected(gradient: Any, positive: Any) -> Any:
    """The true gradient, except for pictures for which that is zero everywhere: they get the gradient where it would
    raise the input (Lucid's rescue of dead units)."""
    true = gradient * positive
    dead = nd.sum(nd.abs(true), axis=0, exclude=True, keepdims=True) == 0
    return true + nd.broadcast_mul(nd.relu(gradient), dead)


RULES = {
    "guided": lambda gradient, positive: nd.relu(gradient) * positive,
    "deconvnet": lambda gradient, _positive: nd.relu(gradient),
    "redirected": redirected,
}


class Relu(autograd.Function):
    """Forward ReLU; backward one of :data:`RULES`."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = RULES[rule]

    def forward(self, x: Any) -> Any:
        self.positive = x > 0
        return nd.relu(x)

    def backward(self, gradient: Any) -> Any:
        """Waits for what it computes: MXNet 1.9.1 takes back the memory of what backward is given as soon as it
        returns, while the operators called there may still have to read it: seen as float32 maps that were wrong by up
        to 0.3 %, or NaN, differently in every run."""
        found = self.rule(gradient, self.positive)
        found.wait_to_read()
        return found
