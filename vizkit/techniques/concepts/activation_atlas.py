"""A map of everything that a layer sees in a folder of pictures."""

from __future__ import annotations

import os
from typing import Any

from ...contract.backend import Model
from ...inputs.folders import Pictures, collect
from ...inputs.images import ImageInput
from ...results.concepts import ActivationAtlas
from ...results.files import provenance
from ..dreams.sheet import in_batches
from ..features.placing import check_settings, place, principal
from ..features.pooled import default_layer
from .cells import Directions, binned, layout, means, named, whitened, within
from .sampling import SAYS, sampled


def activation_atlas(
    model: Model,
    pictures: Pictures | ImageInput,
    layer: str | None = None,
    *,
    method: str | None = None,
    grid: int = 12,
    per_picture: int = 1,
    least: int = 1,
    components: int = 50,
    perplexity: float = 30.0,
    whiten: bool = True,
    cosine_power: float = 4.0,
    size: int = 64,
    steps: int = 128,
    lr: float = 0.05,
    state: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    seed: int = 0,
    input_range: str = "imagenet",
    fit: str = "crop",
    batch_size: int | None = None,
) -> ActivationAtlas:
    """An activation atlas (Carter et al. 2019, "Activation Atlas", Distill): what a layer sees in all pictures at once.

    The layer's values at random positions of every picture are laid out in a plane, alike ones side by side, and
    averaged over the cells of a grid, ``a``. Of each cell :func:`render` makes a picture that raises ``mean <x, v> *
    max(0.1, cos(x, v)) ** cosine_power`` with ``v = S^-1 a``, where ``S`` are the second moments of all activations. It
    is named by the classes to whose logit its activations contribute most, by activation times gradient.

    Args:
        model: a classifier.
        pictures: a folder, a list of files, or whatever :func:`vizkit.folders.collect` takes.
        layer: a layer with maps, or tokens; None takes the last with extent before those of the classes.
        method: "umap" (needs umap-learn), "tsne" or "pca"; None takes the first that is installed.
        grid: cells along each side.
        per_picture: positions of each picture, drawn by the seed.
        least: activations that a cell needs, else it stays empty.
        components, perplexity: see :func:`embed`.
        whiten: whether ``v`` is ``S^-1 a``, or ``a`` itself.
        cosine_power: how much more the direction counts than the length.
        size, steps, lr: of the rendering of a cell.
        state: a folder in which the pass over the pictures is kept, and each batch of renderings under its number, so
            that the same call goes on where it was stopped.
        seed: of the positions, the layout and the renderings.
        workers, scheduler, input_range, fit, batch_size: as :func:`vizkit.folders.stream` has them.

    Returns:
        :class:`vizkit.results.ActivationAtlas` with ``values`` (cells, C).

    Raises:
        ImageError, UnknownNameError, LayerError, SettingError, BackendMissingError for a missing package.

    Believe:
        Neighbours are alike and far groups are not ordered; a picture stands for its cell's mean, not for each of it.

    Example:
        >>> import vizkit
        >>> model, drawn = vizkit.load("shapes"), vizkit.zoo.shapes.sample(24, seed=1)
        >>> found = vizkit.activation_atlas(model, drawn.images, method="pca", grid=2, size=32, steps=2)
        >>> found.icons.shape[1:], int(found.counts.sum())
        ((3, 32, 32), 24)
    """
    method = layout(method, grid, least)
    check_settings(method, "none", components, perplexity)
    layer, listed = layer or default_layer(model), collect(pictures)
    options: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size, "state": state}
    options |= {"workers": workers, "scheduler": scheduler}
    found, passed = sampled(model, listed, layer, per_picture, seed, **options)
    places = within(place(principal(found["vectors"], components), method, perplexity, seed))
    cells, counts, cell = binned(places, grid, least)
    values = means(found["vectors"], cell, len(cells))
    aims = whitened(values, found["vectors"]) if whiten else values
    icons, *_ = in_batches(
        model, lambda start, stop: Directions(layer, aims[start:stop], cosine_power), len(aims), label="cells",
        size=size, steps=steps, lr=lr, seed=seed, state=None if state is None else os.path.join(state, "cells.npz"),
    )  # fmt: skip
    settings = {
        "layer": layer, "method": method, "grid": grid, "per_picture": per_picture, "least": least,
        "components": components, "perplexity": perplexity, "whiten": whiten, "cosine_power": cosine_power,
        "size": size, "steps": steps, "lr": lr, "seed": seed, "input_range": input_range, "fit": fit,
    }  # fmt: skip
    made = provenance(model, "activation_atlas", settings) | {"images": passed.described()}
    classes = named(model, found[SAYS], found["classes"], cell, len(cells))
    shown = cells, counts, icons, classes, places, cell, found["pictures"], tuple(listed.names)
    return ActivationAtlas(values, made, *shown, layer, grid)
