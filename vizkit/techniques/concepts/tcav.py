"""Whether a named concept matters to a class."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...contract.backend import Model
from ...inputs import targets
from ...inputs.folders import Pictures, collect
from ...inputs.images import ImageInput
from ...results.concepts import Tcav
from ...results.files import provenance
from ..common.job import Job
from .gathering import Named, flat, named, needs_sklearn
from .vectors import Along, check, concept_vectors, p_values


def tcav(
    model: Model,
    concepts: Named,
    random: Pictures | ImageInput,
    images: ImageInput,
    layer: str,
    *,
    target: int | str,
    splits: int = 10,
    classifier: str = "sgd",
    held_out: float = 0.33,
    alpha: float = 0.05,
    seed: int = 0,
    input_range: str = "imagenet",
    fit: str = "crop",
    batch_size: int | None = None,
) -> Tcav:
    """Testing with concept activation vectors (Kim et al. 2018, arXiv 1711.11279).

    For each split, a linear classifier tells the layer's values ``a`` of the concept's pictures from those of as many
    random ones; its unit normal ``v`` points towards the concept. Of the class's pictures ``x`` the score is the share
    with ``dS_t / da . v > 0``, and the magnitude the mean of that derivative. Since a vector of noise also gives a
    score, each split gives one to a random concept, too, random pictures against the same ones, and a two-sided t-test
    compares both, with Bonferroni's correction for the number of concepts.

    Other toolkits: captum's scores are these, its magnitude is that of a vector of any length, and it tests nothing.

    Args:
        model: a network.
        concepts: a folder, or a list of pictures, for each name; or a folder whose folders are the concepts.
        random: pictures of anything; at least twice as many as a concept has.
        images: pictures of the class.
        layer: any layer.
        target: the class, an index or a label.
        splits: how many times random pictures are drawn; they share some where there are few.
        classifier: "sgd", the linear one of the authors and of captum, or "logistic" regression.
        held_out: share of each set's pictures on which the accuracy is measured.
        alpha: p-value below which a concept is significant.
        seed: of the splits and the classifiers.
        input_range, fit: see :func:`vizkit.images.prepare`.
        batch_size: images in one pass; None fits the memory.

    Returns:
        :class:`vizkit.results.Tcav` with ``values`` (concepts, splits).

    Raises:
        UnknownNameError, SettingError for too few pictures, ImageError, BackendMissingError without scikit-learn.

    Believe:
        Believe only a significant score of a well told concept; its sign is sound, its size depends on the random
        pictures.

    Example:
        >>> import vizkit
        >>> model, drawn = vizkit.load("shapes"), vizkit.zoo.shapes.sample(96, seed=3)
        >>> rings, others = drawn.images[drawn.labels == 4], drawn.images[drawn.labels != 4]
        >>> vizkit.tcav(model, {"ring": rings}, others, rings, "features.16", target="ring", splits=3).values.shape
        (1, 3)
    """
    needs_sklearn("tcav")
    model.check_layer(layer)
    options: dict[str, Any] = {"fit": fit, "input_range": input_range, "batch_size": batch_size}
    sets = named(concepts)
    read = {name: flat(model, one, layer, f"concept {name}", **options) for name, one in sets.items()}
    others, described = flat(model, collect(random), layer, "random pictures", **options)
    every = [values for values, _ in read.values()]
    size = check(classifier, splits, held_out, alpha, [len(one) for one in every], len(others))
    vectors, accuracy = concept_vectors(every, others, size, splits, classifier, held_out, seed)
    settings: dict[str, Any] = {
        "concepts": {name: one for name, (_, one) in read.items()}, "random": described, "layer": layer,
        "splits": splits, "classifier": classifier, "held_out": held_out, "pictures_of_a_set": size, "alpha": alpha,
        "seed": seed,
    }  # fmt: skip
    job = Job("tcav", model, images, target, **options, **settings)
    along = Along(layer, model.ops.asarray(vectors.reshape(-1, vectors.shape[-1]).T))
    slopes = job.passes(along, layers=(layer,), at_input=False)["slopes"].reshape(-1, *vectors.shape[:2])
    scores, label = (slopes > 0).mean(axis=0), targets.labels(model, job.table, job.chosen)[0]
    made = provenance(model, "tcav", {**job.settings, "target": label}, job.batch)
    return Tcav(
        scores[:-1], made, tuple(read), slopes.astype(np.float64).mean(axis=0)[:-1], scores[-1], accuracy[:-1],
        p_values(scores[:-1], scores[-1]), vectors[:-1], layer, label, alpha,
    )  # fmt: skip
