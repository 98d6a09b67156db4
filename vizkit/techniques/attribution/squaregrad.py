"""The mean square of the gradient under noise."""

from __future__ import annotations

from ...contract.backend import Leaves, Model
from ...inputs.images import ImageInput
from ...inputs.targets import Target
from ...results.attribution import Attribution
from ..common.job import State, added, held
from ..common.passes import INPUT
from .noisy import folded


@held
def squaregrad(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
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
        as smoothgrad with outliers stressed; it has no sign.
    """

    ops = model.ops

    def fold(_: int, which: range, gradients: Leaves, state: State | None) -> State:
        here = ops.double(gradients[INPUT])
        return added(state, ops.sum(here * here, 0))

    job, (total,) = folded("squaregrad", model, image, target, samples, noise, seed, batch_size, input_range, fit, fold)
    square = total / samples
    return job.result(square.sum(axis=1), extra={"attribution": square})
