"""Deep feature factorisation: what a layer sees, in a few concepts."""

from __future__ import annotations

import numpy as np

from ...contract import answers
from ...contract.backend import OUTPUT, Array, Model
from ...contract.errors import SettingError
from ...inputs.images import ImageInput
from ...inputs.targets import ALL
from ...results.factorization import Factorization
from ...results.files import provenance
from ...support import batching
from ..common.checks import pictures_only
from ..common.job import Job
from .combining import choose_layer
from .factors import factorise


def deep_feature_factorization(
    model: Model,
    image: ImageInput,
    *,
    layer: str | None = None,
    components: int = 5,
    top: int = 2,
    iterations: int = 200,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Factorization:
    """Deep feature factorisation (Collins, Achanta & Süsstrunk 2018, arXiv 1806.10206): the layer's activations over
    all pictures together as a few concepts, and where each of them is.

    ``A[k, p] - min_p A[k, p] = sum_c W[k, c] H[c, p]`` as nearly as can be with nothing negative, ``p`` the positions
    of all pictures: scikit-learn's NMF, which starts at random. ``values`` are ``H``, each component from its own 0 to
    1, so that a concept, ``W`` and the minimum, is the activation where the component is strongest. pytorch-grad-cam
    leaves that scale as the start had it. A concept's scores are those of the network when its layer shows nothing but
    this concept, at every position, in place of the first picture's.

    Args:
        model: a network on pictures.
        image: one picture or several, which are factorised together: a concept that they share has one colour.
        layer: as :func:`vizkit.gradcam` has it. Scores mean most where all that follows goes through it.
        components: how many concepts.
        top: classes that are named for each.
        iterations: of NMF, at most.
        seed: of its start.
        batch_size, input_range, fit: as for :func:`vizkit.saliency`.

    Returns:
        :class:`vizkit.results.Factorization` with ``values`` (N, K, h, w).

    Raises:
        VizkitError without scikit-learn; ImageError, UnknownNameError, LayerError, SettingError.

    Believe:
        Believe it as a sketch of what the layer tells apart; another seed or number of components draws other borders.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.deep_feature_factorization(model, vizkit.images.sample(), components=3)
        >>> found.values.shape, found.scores.shape
        ((1, 3, 13, 13), (3, 1000))
    """
    pictures_only(model, "deep_feature_factorization")
    if components < 1 or top < 1 or iterations < 1:
        raise SettingError(f"components={components}, top={top}, iterations={iterations}: give at least 1 of each.")
    job = Job(
        "deep_feature_factorization", model, image, ALL, input_range=input_range, fit=fit, batch_size=batch_size,
        components=components, top=top, iterations=iterations, seed=seed,
    )  # fmt: skip
    (name, grid), ops = choose_layer(model, layer), model.ops
    kept = [grid.maps(ops, one) for one in job.scores((name,))[1][name]]
    concepts, maps, steps = factorise(np.concatenate([ops.numpy(one) for one in kept]), components, seed, iterations)

    def score(start: int, stop: int) -> Array:
        shown = ops.asarray(concepts[start:stop, :, None, None]) + 0.0 * kept[0]
        x = ops.concat([job.image(0)] * (stop - start))
        output = model.forward(x, (OUTPUT,), {name: grid.back(ops, shown - kept[0])})[OUTPUT]
        return ops.numpy(job.table.dense.table(ops, output))

    parts = batching.collected(model, components, batch_size, score, "deep_feature_factorization: concepts")
    scores = np.concatenate(parts)
    tops = answers.predictions(model.spec, scores.astype(np.float64), top, model.ending(scores))
    made = provenance(model, job.technique, {**job.settings, "layer": name, "iterations_taken": steps}, job.batch)
    dtype = ops.dtype
    return Factorization(
        maps.astype(dtype), made, job.batch, name, concepts.astype(dtype), scores.astype(dtype), tuple(map(tuple, tops))
    )
