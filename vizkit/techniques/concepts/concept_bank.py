"""What a layer's activations of many pictures are made of."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ...contract.backend import Model
from ...contract.errors import SettingError
from ...inputs import targets
from ...inputs.folders import Pictures, collect
from ...inputs.images import ImageInput
from ...results.concepts import ConceptBank
from ...results.files import provenance
from ..common.checks import pictures_only
from ..common.job import Job
from .crops import best_crops, boxes, grid_for, non_negative, of_crops
from .factors import factorise
from .gathering import gathered, needs_sklearn
from .importance import importance


def concept_bank(
    model: Model,
    pictures: Pictures | ImageInput,
    layer: str,
    *,
    target: int | str,
    concepts: int = 10,
    crop: float = 0.3,
    best: int = 8,
    designs: int = 32,
    judged: int = 8,
    seed: int = 0,
    input_range: str = "imagenet",
    fit: str = "crop",
    batch_size: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> ConceptBank:
    """Concepts that nobody named, found in the pictures of a class: CRAFT in its essentials (Fel et al. 2023, arXiv
    2211.10154), the neuron groups of Olah et al. 2018.

    Crops of the pictures, enlarged to the network's input, give activations averaged over positions, ``A`` (P, C),
    which non-negative matrix factorisation makes ``U W``: the rows of ``W`` are the concepts. Their importance is the
    total Sobol index of the class's logit when the layer's maps are ``(m * U) W``, with ``m`` in 0..1 for each concept.
    :func:`concept_maps` shows where they are in a picture.

    Args:
        model: a network.
        pictures: pictures of the class.
        layer: a layer with maps, or tokens, and no negative values: behind a ReLU.
        target: the class, an index or a label.
        concepts: how many.
        crop: side of a crop as a share of the picture's; the next begins four fifths of it further.
        best: crops that are kept of each concept, one a picture.
        designs: points of each Sobol sequence, a power of 2; a picture takes ``designs * (concepts + 2)`` passes.
        judged: pictures, evenly spread, on which the importance is measured.
        seed: of the factorisation and the sequences.
        workers, scheduler, input_range, fit, batch_size: as :func:`vizkit.folders.stream` has them.

    Returns:
        :class:`vizkit.results.ConceptBank` with ``values`` (concepts, C), the most important first.

    Raises:
        UnknownNameError, LayerError, ImageError, SettingError for settings or negative activations,
        BackendMissingError without scikit-learn.

    Believe:
        Believe it where the error is small and another seed finds the same; the names are yours, look at the crops and
        maps.

    Example:
        >>> import vizkit
        >>> model, drawn = vizkit.load("shapes"), vizkit.zoo.shapes.sample(12, seed=3)
        >>> found = vizkit.concept_bank(model, drawn.images, "features.16", target="ring", concepts=3, designs=2)
        >>> found.values.shape, found.crops.shape
        ((3, 64), (3, 8, 29, 29, 3))
    """
    needs_sklearn("concept_bank")
    pictures_only(model, "concept_bank")
    grid, parts, listed = grid_for(model, layer), boxes(model.spec.size, crop), collect(pictures)
    if best < 1 or judged < 1:
        raise SettingError(f"best={best}, judged={judged}: take at least 1.")
    options: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size}
    crew = {"workers": workers, "scheduler": scheduler, "looking": partial(of_crops, layer=layer, parts=parts)}
    found, places, described = gathered(model, listed, layer, "crops", **crew, **options)
    values = non_negative(found, layer)
    shares, directions, error = factorise(values.reshape(-1, grid.channels), concepts, seed)
    some = np.unique(np.linspace(0, len(values) - 1, min(judged, len(values))).round().astype(int))
    settings: dict[str, Any] = {
        "layer": layer, "concepts": concepts, "crop": crop, "best": best, "designs": designs, "judged": len(some),
        "seed": seed,
    }  # fmt: skip
    of_class = [listed.items[places[k]] for k in some]
    job = Job("concept_bank", model, of_class, target, **options, **settings)
    weights = importance(job, layer, grid, directions, designs, seed)
    order = np.argsort(-weights, kind="stable")
    shares = shares[:, order]
    shown = best_crops(model, listed, places, parts, shares, best, fit)
    label = targets.labels(model, job.table, job.chosen)[0]
    made = provenance(model, "concept_bank", {**job.settings, "target": label}) | {"images": described}
    return ConceptBank(directions[order], made, weights[order], shares, *shown, layer, label, error)
