"""Statistics of the gradient under noise: its mean, its variance, its mean square."""

from __future__ import annotations

from ..backend import Array, Leaves, Model
from ..images import ImageInput
from ..results import Attribution
from ..targets import Target
from ._attribution import INPUT, Fold, Job, State, added, held, strongest
from ._noise import Noise


def _sums(
    technique: str,
    model: Model,
    image: ImageInput,
    target: Target,
    samples: int,
    noise: float,
    seed: int,
    batch_size: int | None,
    input_range: str,
    fit: str,
    fold: Fold,
) -> tuple[Job, list[Array]]:
    """What ``fold`` makes of the gradients at noisy copies. The target None is the top-1 of the image without noise."""
    job = Job(
        technique, model, image, target, input_range=input_range, fit=fit, batch_size=batch_size,
        samples=samples, noise=noise, seed=seed,
    )  # fmt: skip
    drawn = Noise(job, noise, seed, samples)
    job.settle()
    return job, job.samples(samples, drawn.noisy, fold)


@held
def smoothgrad(
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
    """SmoothGrad: the mean gradient over noisy copies (Smilkov et al. 2017, arXiv 1706.03825).

    ``M[y, x] = max_c |1/n sum_s d S_t(I + e_s) / d I[c, y, x]|`` with ``e_s`` Gaussian of standard deviation
    ``noise * (max I - min I)``; ``samples=1, noise=0`` is :func:`vizkit.saliency`.

    Args: as :func:`vizkit.saliency` has them, and
        samples: noisy copies of each image; 50 as in the paper.
        noise: standard deviation as a fraction of the image's range; the paper finds 0.1 to 0.2 good.
        seed: of the noise. A sample's noise depends on the seed and its number alone.
        batch_size: noisy copies differentiated together; does not change the result. None fits 1 GiB.

    Returns:
        :class:`Attribution` (N, H, W) >= 0; ``extra["attribution"]`` (N, C, H, W) is the mean gradient, signed.

    Raises:
        ImageError, UnknownNameError (label), SettingError. Warns with MapWarning of flat or non-finite maps.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.smoothgrad(model, vizkit.images.sample(), samples=2).values.shape
        (1, 224, 224)
    """

    ops = model.ops

    def fold(_: int, which: range, gradients: Leaves, state: State | None) -> State:
        return added(state, ops.sum(ops.double(gradients[INPUT]), 0))

    job, (total,) = _sums("smoothgrad", model, image, target, samples, noise, seed, batch_size, input_range, fit, fold)
    mean = total / samples
    return job.result(strongest(mean), extra={"attribution": mean})


@held
def vargrad(
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
    """VarGrad: the variance of the gradient over noisy copies (Adebayo et al. 2018, arXiv 1810.03307).

    ``M[y, x] = sum_c 1/n sum_s (g_s - mean g)[c, y, x]^2``, ``g_s`` the gradients that :func:`vizkit.smoothgrad`
    averages.

    Args, raises, example: as :func:`vizkit.smoothgrad`. One sample has no variance, and its map is zero.

    Returns:
        :class:`Attribution` (N, H, W) >= 0; ``extra["attribution"]`` (N, C, H, W) before the sum over channels.
    """

    ops = model.ops

    def fold(_: int, which: range, gradients: Leaves, state: State | None) -> State:
        # Mean and scatter of each batch by itself, then joined (Chan, Golub & LeVeque 1983), without cancellation.
        here = ops.double(gradients[INPUT])
        mean = ops.mean(here, 0)
        off = here - ops.mean(here, 0, keepdims=True)
        scatter = ops.sum(off * off, 0)
        if state is None:
            return mean, scatter
        gap = mean - state[0]
        share = len(which) / which.stop
        return state[0] + share * gap, state[1] + scatter + which.start * share * gap * gap

    job, (_, scatter) = _sums("vargrad", model, image, target, samples, noise, seed, batch_size, input_range, fit, fold)
    variance = scatter / samples
    cause = "the gradients of all samples are the same. Take samples >= 2 and noise > 0."
    return job.result(variance.sum(axis=1), extra={"attribution": variance}, cause=cause)


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
    """

    ops = model.ops

    def fold(_: int, which: range, gradients: Leaves, state: State | None) -> State:
        here = ops.double(gradients[INPUT])
        return added(state, ops.sum(here * here, 0))

    job, (total,) = _sums("squaregrad", model, image, target, samples, noise, seed, batch_size, input_range, fit, fold)
    square = total / samples
    return job.result(square.sum(axis=1), extra={"attribution": square})
