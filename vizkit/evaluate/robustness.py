"""Does a map stay when the image hardly changes?"""

from __future__ import annotations

import numpy as np

from ..contract.backend import Array, Model
from ..contract.errors import SettingError
from ..inputs.images import ImageInput
from ..inputs.targets import Target
from ..support.progress import steps_bar
from ..techniques.common.noise import generator
from ..techniques.common.probe import Probe
from ._maps import Method, explain, with_tensor


def max_sensitivity(
    model: Model,
    image: ImageInput,
    method: Method,
    *,
    target: Target = None,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Array:
    """Max-sensitivity (Yeh et al. 2019, arXiv 1901.09392). Lower is better.

    ``max over d of |M(x + d) - M(x)| / |M(x)|`` in the Euclidean norm, with d uniform in ``-radius..radius`` for each
    input value, as captum has it; a map of zeros is divided by 1. A constant method scores 0: stable is not right.

    Args:
        model, image, target, batch_size, input_range, fit: as for :func:`vizkit.occlusion`; the target is chosen on the
            unchanged image.
        method: a technique, or any ``method(model, image, target=...)`` that gives an attribution or maps (N, H, W). It
            gets a :class:`vizkit.images.Batch`. Settings go in with ``functools.partial``.
        radius: in the network's input range.
        samples: calls of the method besides the first.
        seed: of the perturbations; the same serve every image.

    Returns:
        (N,) >= 0.

    Raises:
        ImageError, UnknownNameError (label), SettingError, ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> float(vizkit.evaluate.max_sensitivity(model, vizkit.images.sample(), vizkit.centre_map, samples=1)[0])
        0.0
    """
    if samples < 1 or not radius > 0:
        raise SettingError(f"samples={samples}, radius={radius}: expected a positive number and a positive radius.")
    job = Probe("max_sensitivity", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    first = explain(method, model, job.batch, job.handed)
    norm = np.linalg.norm(first.reshape(len(job), -1), axis=1)
    norm[norm == 0] = 1
    worst = np.zeros(len(job))
    with steps_bar("max_sensitivity", samples) as advance:
        for s in range(samples):
            changed = job.x + generator(seed, s).uniform(-radius, radius, job.x.shape[1:])
            found = explain(method, model, with_tensor(job.batch, changed, model), job.handed)
            worst = np.maximum(worst, np.linalg.norm((found - first).reshape(len(job), -1), axis=1) / norm)
            advance(s + 1, "")
    return np.asarray(worst)
