"""The mean square of the gradient under noise."""

from __future__ import annotations

from typing import Any

from ..common.job import State, added, held, input_first
from ..common.method import Attribution, ImageInput, Leaves, Model, Neuron, Target
from ..common.passes import INPUT
from .place import total
from .smoothgrad import folded


@input_first
@held
def squaregrad(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    neuron: Neuron | None = None,
    samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """SmoothGrad-squared: the mean squared gradient over noisy copies (Hooker et al. 2018, arXiv 1806.10758).

    ``M[y, x] = sum_c 1/n sum_s g_s[c, y, x]^2``, ``g_s`` the gradients that :func:`vizkit.smoothgrad` averages.

    Args, raises, example: as :func:`vizkit.smoothgrad`.

    Returns:
        :class:`Attribution` (N, H, W) >= 0; ``extra["attribution"]`` (N, C, H, W) before the sum over channels.

    Believe:
        Believe it as where the gradient is large on average near the picture; it has no sign.
    """

    ops, leaf = model.ops, layer or INPUT

    def fold(_: int, which: range, gradients: Leaves, state: State | None) -> State:
        here = ops.double(gradients[leaf])
        return added(state, ops.sum(here * here, 0))

    how: dict[str, Any] = {"neuron": neuron, "batch_size": batch_size, "input_range": input_range, "fit": fit}
    place, (sums,) = folded("squaregrad", model, image, target, fold, layer, samples, noise, seed, **how)
    return place.result(sums / samples, total)
