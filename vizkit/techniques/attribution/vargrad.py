"""The variance of the gradient under noise."""

from __future__ import annotations

from typing import Any

from ..common.job import State, held, input_first
from ..common.method import Attribution, ImageInput, Leaves, Model, Neuron, Target
from ..common.passes import INPUT
from .place import total
from .smoothgrad import folded


@input_first
@held
def vargrad(
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
    """VarGrad: the variance of the gradient over noisy copies (Adebayo et al. 2018, arXiv 1810.03307).

    ``M[y, x] = sum_c 1/n sum_s (g_s - mean g)[c, y, x]^2``, ``g_s`` the gradients that :func:`vizkit.smoothgrad`
    averages.

    Args, raises, example: as :func:`vizkit.smoothgrad`. One sample has no variance, and its map is zero.

    Returns:
        :class:`Attribution` (N, H, W) >= 0; ``extra["attribution"]`` (N, C, H, W) before the sum over channels.

    Believe:
        Believe it as where the gradient is unstable under noise; it has no sign, and is no contribution.
    """

    ops, leaf = model.ops, layer or INPUT

    def fold(_: int, which: range, gradients: Leaves, state: State | None) -> State:
        # Mean and scatter of each batch by itself, then joined (Chan, Golub & LeVeque 1983), without cancellation.
        here = ops.double(gradients[leaf])
        mean = ops.mean(here, 0)
        off = here - ops.mean(here, 0, keepdims=True)
        scatter = ops.sum(off * off, 0)
        if state is None:
            return mean, scatter
        gap = mean - state[0]
        share = len(which) / which.stop
        return state[0] + share * gap, state[1] + scatter + which.start * share * gap * gap

    how: dict[str, Any] = {"neuron": neuron, "batch_size": batch_size, "input_range": input_range, "fit": fit}
    place, (_, scatter) = folded("vargrad", model, image, target, fold, layer, samples, noise, seed, **how)
    cause = "the gradients of all samples are the same. Take samples >= 2 and noise > 0."
    return place.result(scatter / samples, total, cause=cause)
