"""GradientSHAP, also known as expected gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..backend import Array, Model
from ..errors import SettingError
from ..images import ImageInput
from ..results import Attribution
from ..targets import Target
from ._attribution import INPUT, Job
from ._checks import relative_error
from ._noise import Noise, generator
from ._path import baseline_inputs, baseline_name


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
    starts = [baseline_inputs(job, one, seed) for one in baselines]
    noisy = Noise(job, noise, seed).noisy
    draws = [draw(seed, s, len(starts)) for s in range(samples)]
    top, _ = job.scores()
    attribution = np.zeros_like(job.x)
    bottom = np.zeros((len(job), len(starts)))

    def point(i: int, s: int) -> Array:
        which, at = draws[s]
        return np.asarray(starts[which][i] + at * (noisy(i, s) - starts[which][i]))

    def take(i: int, s: int, gradients: dict[str, Array]) -> None:
        attribution[i] += (noisy(i, s) - starts[draws[s][0]][i]) * gradients[INPUT] / samples

    def take_score(i: int, k: int, score: float) -> None:
        bottom[i, k] = score

    job.samples(samples, point, take)
    job.forwards(len(starts), lambda i, k: starts[k][i], take_score)
    expected = top - bottom[:, [which for which, _ in draws]].mean(axis=1)
    error = relative_error(attribution.reshape(len(job), -1).sum(axis=1), expected)
    return job.result(
        attribution.sum(axis=1),
        signed=True,
        extra={"attribution": attribution, "completeness_error": error},
        completeness_error=error.tolist(),
    )


def draw(seed: int, sample: int, count: int) -> tuple[int, float]:
    """Which of ``count`` baselines a sample starts from, and how far along the way it lies."""
    # Apart from the sample's noise, which comes from the same generator from its start.
    random = generator(seed, sample).spawn(1)[0]
    return int(random.integers(count)), float(random.random())
