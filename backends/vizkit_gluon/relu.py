"""Other backward rules for ReLU on MXNet arrays."""

from __future__ import annotations

from typing import Any

from mxnet import autograd, nd


def _done(gradient: Any) -> Any:
    """The gradient, once it is computed. MXNet 1.9.1 takes back the memory of what backward is given as soon
    as it returns, while the operators called there may still have to read it: seen as float32 maps that were wrong by
    up to 0.3 %, or NaN, differently in every run."""
    gradient.wait_to_read()
    return gradient


class Deconvnet(autograd.Function):
    """Forward ReLU; backward ReLU of the gradient, whatever the input was (Zeiler & Fergus 2013)."""

    def forward(self, x: Any) -> Any:
        return nd.relu(x)

    def backward(self, gradient: Any) -> Any:
        return _done(nd.relu(gradient))


class Guided(autograd.Function):
    """Forward ReLU; backward the gradient where both it and the input are positive (Springenberg et al. 2014)."""

    def forward(self, x: Any) -> Any:
        self.positive = x > 0
        return nd.relu(x)

    def backward(self, gradient: Any) -> Any:
        return _done(nd.relu(gradient) * self.positive)


class Redirected(autograd.Function):
    """Forward ReLU; backward its true gradient, except for pictures for which that is zero everywhere: they get the
    gradient where the gradient would raise the input (Lucid's rescue of dead units)."""

    def forward(self, x: Any) -> Any:
        self.positive = x > 0
        return nd.relu(x)

    def backward(self, gradient: Any) -> Any:
        true = gradient * self.positive
        dead = nd.sum(nd.abs(true), axis=0, exclude=True, keepdims=True) == 0
        return _done(true + nd.broadcast_mul(nd.relu(gradient), dead))


RULES: dict[str, Any] = {"guided": Guided, "deconvnet": Deconvnet, "redirected": Redirected}
