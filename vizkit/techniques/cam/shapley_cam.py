"""ShapleyCAM."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...inputs import targets
from ...inputs.targets import Target, Wanted
from ..common.method import Attribution, ImageInput, Job, Model, Probe, SettingError, held, one_of
from .combining import by_weights, choose_layer
from .curvature import rest, slopes

UTILITIES = ("rest", "score")


@held
def shapley_cam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    utility: str = "rest",
    relu: bool = True,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """ShapleyCAM (Cai 2025, arXiv 2501.06261): Grad-CAM with the curvature that an approximate Shapley value asks for.

    ``M = up(relu(sum_k w_k A_k))``, ``w_k = mean over (i, j) of (dU / dA - 1/2 H A)_k[i, j]``: ``H A`` is the Hessian
    of the utility ``U`` at the layer times the activations. With ``utility="rest"``, the paper's, ``U`` is the logit
    plus the logarithm of its softmax; with "score" it is the target itself: behind a layer that ReLUs alone follow it
    has no curvature, and the map is :func:`vizkit.gradcam`.

    Backends differentiate once: ``H A`` is the central difference of the gradient at ``(1 + h) A`` and ``(1 - h) A``,
    ``h`` being 1e-5 in float64, 1e-4 in float32. On SqueezeNet the weights are within 1e-10 of those by PyTorch's own
    second derivative in float64, 2e-3 in float32. Where a ReLU has its kink within ``h`` it can be off by much more:
    then float64 and float32 disagree.

    Args: as :func:`vizkit.gradcam` has them, and utility: see above.

    Returns:
        :class:`Attribution` (N, H, W); ``extra["cam"]`` (N, h, w), ``extra["weights"]`` (N, C) the ``w_k``.

    Raises: as :func:`vizkit.gradcam`; SettingError for a target that is no class and has no softmax.

    Believe:
        Believe it as Grad-CAM, where the probability is far from 0 and 1; elsewhere the two are all but the same.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7", dtype="float64")
        >>> vizkit.shapley_cam(model, vizkit.images.sample(), target="tabby").extra["weights"].shape
        (1, 512)
    """
    one_of("utility", utility, UTILITIES)
    how: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size}
    job = Probe("shapley_cam", model, image, target, utility=utility, **how)
    dense, (name, grid) = job.table.dense, choose_layer(model, layer)
    wanted: list[Wanted] = list(job.handed)
    if utility == "rest":
        if any(index is None or index >= dense.classes for index in job.chosen):
            raise SettingError("utility='rest' needs a class as target; utility='score' takes any.")
        wanted = [targets.Function(partial(rest, dense, index)) for index in job.chosen if index is not None]
    activations, weights = slopes(Job("shapley_cam", model, job.batch, wanted, **how), name, grid)
    return by_weights(job, name, grid, weights, job.uploaded(activations), relu, {"weights": weights})
