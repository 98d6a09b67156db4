"""Internal influence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..common.checks import FLAT_LAYER
from ..common.layers import choose_layer
from ..common.method import Attribution, ImageInput, Job, Model, Target, held
from .place import Place, total
from .quadrature import quadrature
from .ways import Ways, chosen_baselines, named, starts_of


@held
def internal_influence(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    baseline: ImageInput = "black",
    baselines: Sequence[ImageInput] | None = None,
    steps: int = 50,
    rule: str = "gausslegendre",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Internal influence (Leino et al. 2018, arXiv 1802.03788): how much a layer's units move the score on average,
    over pictures between a baseline and this one.

    ``M = up(sum_c X_c)``, ``X = sum_k w_k dS_t/dA at B + a_k (I - B)``, with the nodes ``a_k`` and weights ``w_k`` of a
    quadrature rule on 0..1. It is a gradient, not a contribution: nothing that it adds up to.

    Args: as :func:`vizkit.integrated_gradients` has them, and
        layer: None takes that of :func:`vizkit.gradcam`.

    Returns:
        :class:`Attribution`, signed, (N, H, W); ``extra["attribution"]`` is ``X`` (N, C, h, w), before the sum over
        channels.

    Raises:
        ImageError, UnknownNameError (label or layer), SettingError, LayerError for a layer without extent. Warns with
        MapWarning of flat or non-finite maps.

    Believe:
        Believe it for comparing a layer's units; as a map of places it loses to an edge filter on shapes.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.internal_influence(model, vizkit.images.sample(), layer="features.3", steps=8).layer
        'features.3'
    """
    nodes, weights = quadrature(rule, steps)
    chosen = chosen_baselines(baseline, baselines)
    options: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size}
    settings: dict[str, Any] = {**named(chosen, baselines is not None), "steps": steps, "rule": rule, "seed": seed}
    job = Job("internal_influence", model, image, target, **options, **settings)
    place = Place(job, choose_layer(model, layer)[0])
    job.settle()
    ways = Ways(Place(job, None), starts_of(job, chosen, seed), nodes)
    influence, _ = ways.integral(weights, at=place, times_way=False)
    return place.result(influence, total, signed=True, cause=FLAT_LAYER)
