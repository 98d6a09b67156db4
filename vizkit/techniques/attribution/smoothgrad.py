"""The mean of the gradient under noise, and what its other statistics share with it."""

from __future__ import annotations

from typing import Any

from ..common.job import Fold, State, added, held, input_first
from ..common.method import Array, Attribution, ImageInput, Job, Leaves, Model, Neuron, Target
from ..common.noise import Noise
from ..common.passes import INPUT, strongest
from .place import Place


@input_first
@held
def smoothgrad(
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
    """SmoothGrad: the mean gradient over noisy copies (Smilkov et al. 2017, arXiv 1706.03825).

    ``M[y, x] = max_c |1/n sum_s d S_t(I + e_s) / d I[c, y, x]|`` with ``e_s`` Gaussian of standard deviation
    ``noise * (max I - min I)``; ``samples=1, noise=0`` is :func:`vizkit.saliency`.

    Args: as :func:`vizkit.saliency` has them, ``layer`` and ``neuron`` too, and
        samples: noisy copies of each image; 50 as in the paper.
        noise: standard deviation as a fraction of the image's range; the paper finds 0.1 to 0.2 good.
        seed: of the noise. A sample's noise depends on the seed and its number alone.
        batch_size: noisy copies differentiated together; does not change the result. None takes as many as fit.

    Returns:
        :class:`Attribution` (N, H, W) >= 0; ``extra["attribution"]`` (N, C, H, W) is the mean gradient, signed.

    Raises:
        ImageError, UnknownNameError (label), SettingError. Warns with MapWarning of flat or non-finite maps.

    Believe:
        Believe it as calmer saliency, for pictures near yours; too much noise shows another picture.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.smoothgrad(model, vizkit.images.sample(), samples=2).values.shape
        (1, 224, 224)
    """
    ops, leaf = model.ops, layer or INPUT

    def fold(_: int, which: range, gradients: Leaves, state: State | None) -> State:
        return added(state, ops.sum(ops.double(gradients[leaf]), 0))

    how: dict[str, Any] = {"neuron": neuron, "batch_size": batch_size, "input_range": input_range, "fit": fit}
    place, (sums,) = folded("smoothgrad", model, image, target, fold, layer, samples, noise, seed, **how)
    return place.result(sums / samples, strongest)


def folded(
    technique: str,
    model: Model,
    image: ImageInput,
    target: Target,
    fold: Fold,
    layer: str | None,
    samples: int,
    noise: float,
    seed: int,
    **options: Any,
) -> tuple[Place, list[Array]]:
    """What ``fold`` makes of the gradients at noisy copies. The target None is the top-1 of the image without noise."""
    job = Job(technique, model, image, target, samples=samples, noise=noise, seed=seed, **options)
    place, drawn = Place(job, layer), Noise(job, noise, seed, samples)
    job.settle()
    return place, job.samples(samples, drawn.noisy, fold, **place.options)
