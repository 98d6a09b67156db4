"""GradientSHAP, also known as expected gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...contract.backend import Leaves, Model, Tensor
from ...contract.errors import SettingError
from ...inputs.images import ImageInput
from ...inputs.targets import Target
from ...results.attribution import Attribution
from ..common.checks import relative_error
from ..common.job import Job, State, added, held
from ..common.noise import Noise
from ..common.passes import INPUT
from .path import baseline_inputs, baseline_name, draw


@held
def gradient_shap(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
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
    many baselines at once. ``sum M`` tends to ``S_t(I)`` less the baselines' mean score.

    Args: as :func:`vizkit.saliency` has them, and
        baselines: the distribution that baselines are drawn from: names or images as in
            :func:`vizkit.integrated_gradients`, each for all images.
        samples: gradients for each image.
        noise: standard deviation of the noise as a fraction of the image's range.
        seed: of baselines, positions and noise; a sample's depend on the seed and its number alone.
        batch_size: points differentiated together; does not change the result. None fits 1 GiB.

    Returns:
        :class:`Attribution`, signed, (N, H, W); ``extra["attribution"]`` (N, C, H, W) before the sum over channels, and
        ``extra["completeness_error"]`` (N,), relative, which falls with the number of samples and is not warned of.

    Raises:
        ImageError, UnknownNameError (label), SettingError. Warns with MapWarning of flat or non-finite maps.

    Believe:
        as integrated gradients over several baselines, once its completeness error is small.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.gradient_shap(model, vizkit.images.sample(), samples=4).values.shape
        (1, 224, 224)
    """
    if isinstance(baselines, str) or not len(baselines):
        raise SettingError(f"baselines={baselines!r}: give a list of at least one, for example ['black'].")
    job = Job(
        "gradient_shap", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size,
        baselines=baseline_name(list(baselines)), samples=samples, noise=noise, seed=seed,
    )  # fmt: skip
    starts = np.stack([baseline_inputs(job, one, seed) for one in baselines], axis=1)
    noisy = Noise(job, noise, seed, samples).noisy
    which_start, places = zip(*(draw(seed, s, len(baselines)) for s in range(samples)), strict=True)
    top, _ = job.scores()
    ops, every = model.ops, job.uploaded(starts.reshape(len(job), len(baselines), -1))
    taken = ops.asarray(np.eye(len(baselines))[list(which_start)])
    at = ops.asarray(np.reshape(places, (-1, 1, 1, 1)))

    def ends(i: int, which: range) -> tuple[Tensor, Tensor]:
        """The baselines of these samples, and the way from them to the noisy image."""
        image = noisy(i, which)
        flat = ops.matmul(taken[which.start : which.stop], ops.reshape(every(i), tuple(every(i).shape[1:])))
        start = ops.reshape(flat, tuple(image.shape))
        return start, image - start

    def point(i: int, which: range) -> Tensor:
        start, way = ends(i, which)
        return start + at[which.start : which.stop] * way

    def fold(i: int, which: range, gradients: Leaves, state: State | None) -> State:
        return added(state, ops.sum(ops.double(ends(i, which)[1] * gradients[INPUT]), 0))

    (total,) = job.samples(samples, point, fold)
    attribution = total / samples
    shape = (-1, *job.batch.tensor.shape[1:])
    bottom = job.forwards(len(baselines), lambda i, k: ops.reshape(every(i)[:, k.start : k.stop], shape))
    expected = top - bottom[:, list(which_start)].mean(axis=1)
    error = relative_error(attribution.reshape(len(job), -1).sum(axis=1), expected)
    extra = {"attribution": attribution, "completeness_error": error}
    return job.result(attribution.sum(axis=1), signed=True, extra=extra, completeness_error=error.tolist())
