"""What methods on transformers' attention share: which layers, which tokens are the picture's, and the way to a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...contract.backend import Array, Layer, Model, Ops, Tensor
from ...contract.errors import LayerError
from ...contract.grid import Grid, token_grid
from ...results.attribution import Attribution
from ..common.job import Job, marked
from ..common.maps import CAM, enlarged

FLAT_ATTENTION = "every token of the picture is looked at alike, as with weights that are blank or not trained."
needs_attention = marked("needs_attention")
"""Marks a method that takes a network only where :func:`attends`."""


def attends(model: Model) -> bool:
    """Whether a network has attention, and all of it looks at the whole picture."""
    try:
        every_layer(model)
    except LayerError:
        return False
    return True


def every_layer(model: Model) -> tuple[tuple[str, ...], Grid]:
    """All attention layers, in order, and which of their tokens are the picture's.

    Raises LayerError where there are none, or one has windows, or not all look at the same number of tokens.
    """
    grids = {name: _grid(model, layer) for name, layer in _known(model).items()}
    counts = {layer.shape[-1]: name for name, layer in model.attention.items()}
    if len(counts) > 1:
        many = " and ".join(f"{count} in {name!r}" for count, name in counts.items())
        raise LayerError(
            f"{model.name} does not keep its tokens: {many}, so that attention cannot be followed from layer to layer. "
            f"vizkit.attention shows one layer's, vizkit.gradcam a class's."
        )
    return tuple(grids), next(iter(grids.values()))


def choose_attention(model: Model, layer: str | None) -> tuple[str, Grid]:
    """The attention layer that is meant, the last one for None, and which of its tokens are the picture's.

    Raises UnknownNameError for one that does not exist, LayerError for one without attention over the whole picture.
    """
    known = _known(model)
    name = list(known)[-1] if layer is None else layer
    if name not in known:
        model.check_layer(name)
        raise LayerError(
            f"Layer {name!r} of {model.name} gives no attention probabilities, (1, heads, T, T) with rows that add up "
            f"to one. Layers that do: {', '.join(map(repr, known))}."
        )
    return name, _grid(model, known[name])


def _known(model: Model) -> Mapping[str, Layer]:
    if model.spec.extent:
        raise LayerError(f"{model.name} does not look at pictures; its attention has no map. See model.attention.")
    if not model.attention:
        raise LayerError(
            f"{model.name} has no attention, softmax(Q K^T / sqrt(d)) of (1, heads, T, T), or none that "
            f"{model.backend} shows. Take vizkit.gradcam or vizkit.saliency; in a network of your own, let a block "
            "give these probabilities and nothing else, and it is seen."
        )
    return model.attention


def _grid(model: Model, layer: Layer) -> Grid:
    """Which tokens are the picture's, of a layer that looks at all of it."""
    what = f"Layer {layer.name!r} of {model.name} attends"
    if len(layer.shape) != 4 or layer.shape[0] != 1:
        raise LayerError(
            f"{what} within windows: {layer.shape} for one picture, {layer.shape[-1]} tokens in each. No token sees "
            "the whole picture there, so there is no map of what it looks at. Take vizkit.gradcam, vizkit.layercam or "
            "vizkit.saliency, or vizkit.attention with a layer of one window."
        )
    tokens, seen = layer.shape[2:]
    grid = model.layout.get(layer.name) or token_grid(tokens, model.spec.size)
    if tokens != seen or grid is None or grid.aside + grid.positions != tokens:
        raise LayerError(
            f"{what} from {tokens} to {seen} tokens, which are not a picture's of {model.spec.size} pixels: as many on "
            "both sides, and but for a class token and its like a grid in the picture's proportions. Say how they "
            f"cover it with vizkit.wrap(..., layout={{{layer.name!r}: vizkit.grid.Grid('NTC', 1, height, width, "
            "aside)}), or take vizkit.gradcam or vizkit.saliency."
        )
    return grid


def seen(matrices: Array, grid: Grid) -> Array:
    """(..., T, T), what each token takes from each, to (..., h, w): what the class token takes from the picture's, or
    their mean where no token is set aside."""
    rows = matrices[..., 0, :] if grid.aside else matrices.mean(axis=-2)
    return np.asarray(rows[..., grid.aside :].reshape(*rows.shape[:-1], grid.height, grid.width))


def seen_natively(ops: Ops, matrices: Tensor, grid: Grid) -> Tensor:
    """:func:`seen` of native (N, T, T)."""
    rows = matrices[:, 0] if grid.aside else ops.mean(matrices, 1)
    return ops.reshape(rows[:, grid.aside :], (-1, grid.height, grid.width))


def finished(
    job: Job,
    cam: Array,
    grid: Grid,
    extra: Mapping[str, Array],
    *,
    layers: Sequence[str],
    layer: str | None = None,
    cause: str,
) -> Attribution:
    """The result of maps (N, h, w) at the tokens' resolution."""
    ops = job.model.ops
    values = ops.numpy(enlarged(ops, ops.asarray(cam), grid, job.model.spec))
    return job.result(values, layer=layer, extra={CAM: cam, **extra}, cause=cause, layers=list(layers))
