"""Attention rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..common.method import Array, Attribution, ImageInput, Job, Leaves, Model, Ops, SettingError, Target, held
from .matrices import FLAT_ATTENTION, every_layer, finished, needs_attention, seen

FUSIONS = ("mean", "max", "min")


@needs_attention
@held
def attention_rollout(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    fusion: str = "mean",
    discard_ratio: float = 0.0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Attention rollout (Abnar & Zuidema 2020, arXiv 2005.00928): what of the picture reaches the class token through
    all layers.

    ``R = B_L ... B_2 B_1``, ``B_l = norm((fuse over heads of A_l + I) / 2)``: ``A_l`` (heads, T, T) the attention of
    layer ``l``, ``I`` for the residual connection, ``norm`` each row to a sum of one. The map is the class token's row
    over the picture's tokens, as :func:`vizkit.attention` has it. It is the same for every ``target``, which is only
    noted in the result.

    Args: ``model``, ``image``, ``target``, ``batch_size``, ``input_range``, ``fit`` as :func:`vizkit.saliency` has
        them, and fusion: "mean" over the heads, as the paper has it, "max" or "min". discard_ratio: this part of the
            T * T fused values, the lowest, rounded down in number, is set to zero first, 0 <= ratio < 1; never that of
            the class token to itself. These two are vit-explain's (Gildenblat 2020), which divides by the rows' sums
            along columns, though; that is the same only for "mean" without discarding.

    Returns:
        :class:`Attribution` (N, H, W), in 0..1, in the model's dtype; ``extra["cam"]`` (N, h, w) at the tokens'
        resolution, ``extra["rollout"]`` (N, T, T), R itself. Products are taken in float64.

    Raises:
        ImageError, UnknownNameError, SettingError, and LayerError where the network has no attention, or not all of it
        over the whole picture, such as Swin's within windows. Warns with MapWarning of a map that is the same
        everywhere.

    Believe:
        Believe it as what may reach the class token; it is the same for every class.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("vit_b_16", weights="random:7")                          # doctest: +SKIP
        >>> vizkit.attention_rollout(model, "photo.jpg", discard_ratio=0.9).values.shape  # doctest: +SKIP
        (1, 224, 224)
    """
    if fusion not in FUSIONS or not 0 <= discard_ratio < 1:
        raise SettingError(
            f"fusion={fusion!r}, discard_ratio={discard_ratio!r}: expected one of {', '.join(map(repr, FUSIONS))}, and "
            "0 <= discard_ratio < 1."
        )
    options: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size}
    job = Job("attention_rollout", model, image, target, **options, fusion=fusion, discard_ratio=discard_ratio)
    names, grid = every_layer(model)

    def host(fused: dict[str, Array]) -> dict[str, Array]:
        return {"rollout": _rolled([fused[name] for name in names], discard_ratio)}

    rolled = job.inferences(Fused(names, fusion), names, host)
    return finished(job, seen(rolled["rollout"], grid), grid, rolled, layers=names, cause=FLAT_ATTENTION)


@dataclass(frozen=True)
class Fused:
    """A reduction to each layer's heads as one, (N, T, T)."""

    layers: tuple[str, ...]
    fusion: str

    def __call__(self, ops: Ops, kept: Leaves) -> Leaves:
        if self.fusion == "mean":
            return {name: ops.mean(kept[name], 1) for name in self.layers}
        if self.fusion == "max":
            return {name: ops.max(kept[name], 1) for name in self.layers}
        return {name: -1.0 * ops.max(-1.0 * kept[name], 1) for name in self.layers}


def _rolled(fused: list[Array], discard_ratio: float) -> Array:
    """(N, T, T) of each layer, the first first, to their product (N, T, T), float64."""
    n, tokens, _ = fused[0].shape
    found = np.broadcast_to(np.eye(tokens), (n, tokens, tokens))
    for one in fused:
        flat = one.astype(np.float64).reshape(n, -1)
        lowest = np.argsort(flat, axis=1, kind="stable")[:, : int(flat.shape[1] * discard_ratio)]
        first = flat[:, 0].copy()
        np.put_along_axis(flat, lowest, 0.0, axis=1)
        flat[:, 0] = first
        passed = (flat.reshape(n, tokens, tokens) + np.eye(tokens)) / 2
        found = passed / passed.sum(axis=2, keepdims=True) @ found
    return np.asarray(found)
