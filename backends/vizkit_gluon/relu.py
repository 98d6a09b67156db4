"""Other backward rules for ReLU on MXNet arrays."""

from __future__ import annotations

from typing import Any

from mxnet import autograd, nd


class Deconvnet(autograd.Function):
    """Forward ReLU; backward ReLU of the gradient, whatever the input was (Zeiler & Fergus 2013)."""

    def forward(self, x: Any) -> Any:
        return nd.relu(x)

    def backward(self, gradient: Any) -> Any:
        return nd.relu(gradient)


class Guided(autograd.Function):
    """Forward ReLU; backward the gradient where both it and the input are positive (Springenberg et al. 2014)."""

    def forward(self, x: Any) -> Any:
        self.positive = x > 0
        return nd.relu(x)

    def backward(self, gradient: Any) -> Any:
        return nd.relu(gradient) * self.positive


RULES: dict[str, Any] = {"guided": Guided, "deconvnet": Deconvnet}
