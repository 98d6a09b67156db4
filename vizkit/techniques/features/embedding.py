"""Where the pictures of a folder lie: a layer's features in two dimensions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from ...contract.backend import Model
from ...inputs.folders import Pictures, collect, stream
from ...inputs.images import ImageInput
from ...results.files import provenance
from ...results.folders import Embedding
from ..common.layers import by_unit
from .placing import accuracies, check_settings, place, principal, trust
from .pooled import Features, check_size, default_layer


def embed(
    model: Model,
    pictures: Pictures | ImageInput,
    layer: str | None = None,
    *,
    method: str = "tsne",
    pool: str = "mean",
    components: int = 50,
    perplexity: float = 30.0,
    labels: Sequence[str | None] | None = None,
    seed: int = 0,
    state: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
    batch_size: int | None = None,
) -> Embedding:
    """The pictures of a folder in two dimensions, alike ones side by side, by what a layer makes of them: t-SNE (van
    der Maaten & Hinton 2008; Barnes-Hut, van der Maaten 2014), UMAP (McInnes et al. 2018, arXiv 1802.03426), or PCA.

    The layer's maps are averaged over their positions (``pool="mean"``), projected on their first ``components``
    principal components, and these are embedded, starting from the first two.

    Args:
        model: a network.
        pictures: a folder, a list of files, or whatever :func:`vizkit.folders.collect` takes.
        layer: any layer; None takes the last with maps, before those of the classes.
        method: "tsne", "umap" (needs umap-learn) or "pca".
        pool: "mean" or "max" over the positions, or "none", all positions as they are.
        components: principal components that are kept, at most as many as there are.
        perplexity: of t-SNE, or the neighbours of UMAP; lowered to a third of the pictures where there are few.
        labels: one for each picture in place of those from the folders' names.
        seed: of the optimisation; the same seed gives the same places on one machine.
        state, workers, scheduler, input_range, fit, batch_size: as :func:`vizkit.folders.stream` has them.

    Returns:
        :class:`Embedding` with ``values`` (N, 2).

    Raises:
        ImageError, UnknownNameError, LayerError, ShapeError, SettingError, BackendMissingError for a missing package.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("shapes")
        >>> found = vizkit.embed(model, vizkit.zoo.shapes.sample(24, seed=1).images, method="pca")
        >>> found.values.shape
        (24, 2)
    """
    check_settings(method, pool, components, perplexity)
    listed = collect(pictures, labels)
    layer = layer or default_layer(model)
    check_size(model, layer, pool, len(listed))
    features = Features(layer, pool)
    passed = stream(
        model, listed, [layer], features, label="features", fit=fit, input_range=input_range, batch_size=batch_size,
        state=state, workers=workers, scheduler=scheduler, settings={"pool": pool},
        looking=partial(by_unit, layers=[layer]),
    )  # fmt: skip
    found = features.state()
    reduced = principal(found["features"], components)
    places = place(reduced, method, perplexity, seed)
    kept = [int(place) for place in found["places"]]
    named = tuple(listed.labels[place] for place in kept)
    settings = {
        "layer": layer, "method": method, "pool": pool, "components": reduced.shape[1], "perplexity": perplexity,
        "seed": seed, "input_range": input_range, "fit": fit,
    }  # fmt: skip
    made = provenance(model, "embed", settings) | {"images": passed.described()}
    return Embedding(
        places, made, found["features"], found["thumbnails"], tuple(listed.names[place] for place in kept), named,
        layer, method, trust(reduced, places, seed), accuracies(found["features"], places, named, seed),
    )  # fmt: skip
