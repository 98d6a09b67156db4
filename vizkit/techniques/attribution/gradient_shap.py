"""GradientSHAP, also known as expected gradients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..common.checks import relative_error
from ..common.job import Job, State, added, held, input_first
from ..common.method import Attribution, ImageInput, Leaves, Model, Neuron, Target, Tensor
from ..common.noise import Noise
from .baselines import draw
from .place import Place, total
from .ways import Ways, chosen_baselines, named, reported, starts_of


@input_first
@held
def gradient_shap(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    neuron: Neuron | None = None,
    baselines: Sequence[ImageInput] = ("black", "mean", "blurred"),
    samples: int = 50,
    noise: float = 0.0,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """GradientSHAP (Lundberg & Lee 2017, arXiv 1705.07874; expected gradients: Erion et al. 2019, arXiv 1906.10670).

    ``M[y, x] = sum_c 1/n sum_s (I_s - B_s)[c, y, x] * d S_t(B_s + a_s (I_s - B_s)) / d I[c, y, x]`` with ``B_s`` one of
    ``baselines``, ``a_s`` uniform in 0..1, and ``I_s`` the image under noise: integrated gradients by Monte Carlo, from
    many baselines at once. ``sum M`` tends to ``S_t(I)`` less the baselines' mean score. With pictures of a data set as
    ``baselines``, and ``noise=0`` as here, these are expected gradients. At a layer, as
    :func:`vizkit.integrated_gradients` has it, the points lie between its activations (captum's LayerGradientShap takes
    gradients at points between the inputs, which is the same only where the layer is affine in them, and complete only
    there).

    Args: as :func:`vizkit.saliency` has them, ``layer`` and ``neuron`` too, and
        baselines: the distribution that baselines are drawn from: a list of names and images as in
            :func:`vizkit.integrated_gradients`, each for all images, or an array of images.
        samples: gradients for each image.
        noise: standard deviation of the noise as a fraction of the image's range.
        seed: of baselines, positions and noise; a sample's depend on the seed and its number alone.
        batch_size: points differentiated together; does not change the result. None takes as many as fit.

    Returns:
        :class:`Attribution`, signed, (N, H, W); ``extra["attribution"]`` (N, C, H, W) before the sum over channels, and
        ``extra["completeness_error"]`` (N,), relative, which falls with the number of samples and is not warned of.

    Raises:
        ImageError, UnknownNameError (label), SettingError. Warns with MapWarning of flat or non-finite maps.

    Believe:
        Believe it where no single baseline is right, and enough samples make the error small.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.gradient_shap(model, vizkit.images.sample(), samples=4).values.shape
        (1, 224, 224)
    """
    chosen = chosen_baselines("black", baselines)
    job = Job(
        "gradient_shap", model, image, target, neuron=neuron, input_range=input_range, fit=fit, batch_size=batch_size,
        **named(chosen, several=True), samples=samples, noise=noise, seed=seed,
    )  # fmt: skip
    place = Place(job, layer)
    starts, noisy = starts_of(job, chosen, seed), Noise(job, noise, seed, samples).noisy
    which_start, places = zip(*(draw(seed, s, len(chosen)) for s in range(samples)), strict=True)
    top, _ = job.scores()
    ops, ways = model.ops, Ways(place, starts, np.empty(0))
    taken, at = ops.asarray(np.eye(len(chosen))[list(which_start)]), place.column(places)

    @lru_cache(maxsize=1)
    def ends(i: int, which: range) -> tuple[Tensor, Tensor, Tensor]:
        """The noisy images of these samples, the baselines, and the way from them to the images, at the place."""
        image = noisy(i, which)
        flat = ops.matmul(taken[which.start : which.stop], ops.reshape(ways.starts(i), (len(chosen), -1)))
        start = ops.reshape(flat, (-1, *place.shape))
        return image, start, place.values(image) - start

    def point(i: int, which: range) -> Tensor:
        image, start, way = ends(i, which)
        return start + at[which.start : which.stop] * way if layer is None else image

    def add(i: int, which: range) -> Leaves:
        return {} if layer is None else {layer: (at[which.start : which.stop] - 1.0) * ends(i, which)[2]}

    def fold(i: int, which: range, gradients: Leaves, state: State | None) -> State:
        return added(state, ops.sum(ops.double(ends(i, which)[2] * gradients[place.leaf]), 0))

    (sums,) = job.samples(samples, point, fold, add=add, **place.options)
    attribution = sums / samples
    expected = top - ways.bottom()[:, list(which_start)].mean(axis=1)
    error = relative_error(attribution.reshape(len(job), -1).sum(axis=1), expected)
    return place.result(attribution, total, signed=True, **reported(error))
