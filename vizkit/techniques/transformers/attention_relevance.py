"""Relevance propagated through attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...contract.grid import Grid
from ..common.maps import CAM
from ..common.method import Attribution, ImageInput, Job, Leaves, Model, Ops, Target, held
from ..common.passes import Pass
from .matrices import every_layer, finished, needs_attention, seen_natively

CAUSE = "no attention speaks for the class, or a saturated output hides what does; another target may have evidence."


@needs_attention
@held
def attention_relevance(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Relevance through attention (Chefer, Gur & Wolf 2021, "Generic Attention-model Explainability", arXiv
    2103.15679): what of the picture reaches the class token by attention that speaks for the class.

    ``R <- R + mean over heads of relu(dS_t / dA_l * A_l) R`` from the first layer to the last, from ``R = I``: ``A_l``
    (heads, T, T) the attention of layer ``l``, ``S_t`` the target's logit. The map is the class token's row over the
    picture's tokens, as :func:`vizkit.attention` has it. It is the paper's rule for self-attention.

    Args: ``model``, ``image``, ``target``, ``batch_size``, ``input_range``, ``fit`` as :func:`vizkit.saliency` has
        them.

    Returns:
        :class:`Attribution` (N, H, W), nowhere negative, in the model's dtype; ``extra["cam"]`` (N, h, w) at the
        tokens' resolution, ``extra["relevance"]`` (N, T, T), R itself.

    Raises:
        ImageError, UnknownNameError, SettingError, DisconnectedError, and LayerError where the network has no
        attention, or not all of it over the whole picture, such as Swin's within windows. Warns with MapWarning of a
        map that is the same everywhere.

    Believe:
        Believe it for transformers where attention carries the class; what bypasses attention is not in it.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("vit_b_16", weights="random:7")                          # doctest: +SKIP
        >>> vizkit.attention_relevance(model, "photo.jpg", target="tabby").values.shape   # doctest: +SKIP
        (1, 224, 224)
    """
    options: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size}
    job = Job("attention_relevance", model, image, target, **options)
    names, grid = every_layer(model)
    found = job.passes(Relevance(names, grid), layers=names, at_input=False)
    return finished(job, found.pop(CAM), grid, found, layers=names, cause=CAUSE)


@dataclass(frozen=True)
class Relevance:
    """A reduction of a pass to R (N, T, T), and to its map (N, h, w)."""

    layers: tuple[str, ...]
    grid: Grid

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        n, _, tokens, _ = done.activations[self.layers[0]].shape
        found = ops.zeros((n, tokens, tokens)) + ops.reshape(ops.constant(np.eye, tokens), (1, tokens, tokens))
        for name in self.layers:
            speaks = ops.mean(ops.maximum(done.gradients[name] * done.activations[name], 0.0), 1)
            found = found + ops.matmul(speaks, found)
        return {CAM: seen_natively(ops, found, self.grid), "relevance": found}
