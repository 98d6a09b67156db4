"""Finer-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ...inputs import targets
from ...inputs.outputs import Dense
from ..common.method import Array, Attribution, ImageInput, Job, Model, Ops, Probe, SettingError, Target, Tensor, held
from .combining import cam_maps, choose_layer, finish
from .gradcam import channel_means


@held
def finer_cam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    similar: int | Sequence[int | str] = 3,
    alpha: float = 1.0,
    relu: bool = True,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Finer-CAM (Zhang et al. 2025, CVPR, arXiv 2501.11309): Grad-CAM of what tells a class from those like it.

    :func:`vizkit.gradcam` of the score ``sum_c p_c (S_t - alpha S_c)`` over the classes ``c`` that are compared, ``p``
    the softmax over their logits alone, which is differentiated with the rest, as the authors' code does.
    pytorch-grad-cam adds 1e-9 to the sum of their probabilities by which it divides; here nothing is added.

    Args: as :func:`vizkit.gradcam` has them, and similar: how many classes are compared at most, those whose logits are
        the nearest to the target's; or the classes themselves, by index or label. alpha: how much of them is taken
        away.

    Returns:
        :class:`Attribution` (N, H, W); ``extra["cam"]`` (N, h, w), ``extra["similar"]`` (N, K) the classes compared.

    Raises: as :func:`vizkit.gradcam`; SettingError for a target that is no class, or no other class to compare.

    Believe:
        Believe it where classes look alike and you ask what tells them apart; it hides evidence that they share.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.finer_cam(model, vizkit.images.sample(), target="tabby", similar=["tiger cat", "lynx"])
        >>> found.extra["similar"].astype(int).tolist()
        [[282, 287]]
    """
    how: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size}
    job = Probe("finer_cam", model, image, target, similar=similar, alpha=alpha, **how)
    dense, (name, grid) = job.table.dense, choose_layer(model, layer)
    chosen = [index for index in job.chosen if index is not None and index < dense.classes]
    if len(chosen) < len(job):
        raise SettingError("finer_cam tells a class from others; give a class as target, neither a score nor 'all'.")
    compared = rivals(model, job.logits[:, : dense.classes], chosen, similar)
    rows = zip(chosen, compared.tolist(), strict=True)
    scores = [targets.Function(partial(difference, dense, index, others, alpha)) for index, others in rows]
    maps = cam_maps(Job("finer_cam", model, job.batch, scores, **how), name, grid, channel_means, relu)
    return finish(job, maps, name, relu, extra={"similar": compared})


def difference(dense: Dense, index: int, others: Sequence[int], alpha: float, ops: Ops, output: Tensor) -> Tensor:
    """The score (N,) of a class less those of others, each weighted by its share in their softmax."""
    table = dense.table(ops, output)
    rest = ops.concat([table[:, one : one + 1] for one in others], 1)
    return ops.sum(ops.softmax(rest) * (table[:, index : index + 1] - alpha * rest), 1)


def rivals(model: Model, logits: Array, chosen: Sequence[int], similar: int | Sequence[int | str]) -> Array:
    """For each row of ``logits`` (N, classes) the classes (N, K) that its chosen one is compared with: those of the
    nearest logits, the nearest first, as many as there are at most; or those that are named.

    Raises SettingError where there are none, or the class itself is among them.
    """
    classes = logits.shape[1]
    if isinstance(similar, int | np.integer):
        if similar < 1 or classes < 2:
            raise SettingError(f"similar={similar} of {classes} classes: expected at least 1 class beside the target.")
        far = np.abs(logits - logits[np.arange(len(chosen)), chosen][:, None])
        far[np.arange(len(chosen)), chosen] = -1  # itself comes first, and is left out
        return np.argsort(far, axis=1, kind="stable")[:, 1 : similar + 1]
    named = [model.spec.index(one, classes) for one in similar]
    if not named or set(named) & set(chosen):
        raise SettingError(f"similar={list(similar)!r}: name at least one class, and none that is explained itself.")
    return np.tile(np.array(named), (len(chosen), 1))
