"""Concept relevance propagation: the relevance of a layer's units, and where in the picture it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...contract.backend import Mode, Model, Tensor
from ...contract.units import units_of
from ...inputs.outputs import Dense
from ..common.layers import choose_layer
from ..common.method import Attribution, ImageInput, Job, Target, held
from ..common.passes import gradients_and_scores, looking
from .composites import Composite, composite
from .lrp import relevant


@held
def crp(
    model: Model,
    image: ImageInput,
    *,
    layer: str | None = None,
    units: int | Sequence[int] | None = None,
    target: Target = None,
    rules: str | Composite = "epsilon_plus_flat",
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Concept relevance propagation (Achtibat et al. 2023, arXiv 2206.03208).

    As :func:`vizkit.lrp` down to ``layer``, where only the relevance of ``units`` is followed further: the part of the
    logit that the picture gives through them. Maps of all units add up to the map of that LRP, if all paths cross the
    layer.

    Args: as :func:`vizkit.lrp` has them, and
        layer: the name of a layer; None as in :func:`vizkit.gradcam`.
        units: a unit of it, a list of them, whose parts are added up, or None: each picture's most relevant one.

    Returns:
        :class:`Attribution`, signed, (N, H, W); ``extra["relevance"]`` (N, C) of every unit of the layer, summed over
        its positions, ``extra["attribution"]`` (N, C, H, W) before the sum over channels.

    Raises:
        As :func:`vizkit.lrp`, UnknownNameError (layer), SettingError for a unit that the layer has not.

    Believe:
        Believe it as where this unit's part of the class comes from; that the unit is a concept is for its top patches
        to show.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.crp(model, vizkit.images.sample(), layer="features.7", units=[0, 1]).values.shape
        (1, 224, 224)
    """
    mode = Mode(rules=composite(rules, model))
    if layer is None:
        layer, _ = choose_layer(model, None)
    known = units_of(model, layer)
    axis, count = known.axis, known.count
    asked = None if units is None else np.unique(known.chosen(units))
    job = Job(
        "crp", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size,
        rules=rules if isinstance(rules, str) else repr(rules),
    )  # fmt: skip
    at = job.passes(gradients_and_scores, layers=(layer,), at_input=False, mode=mode, start=relevant)[layer]
    units_last = np.moveaxis(at, axis, -1)
    relevance = units_last.reshape(len(at), -1, count).sum(axis=1)
    chosen = relevance.argmax(axis=1)[:, None] if asked is None else np.tile(asked, (len(job), 1))
    kept = np.zeros_like(relevance)
    np.put_along_axis(kept, chosen, 1.0, axis=1)
    part = units_last * kept.reshape(len(kept), *(1,) * (at.ndim - 2), count)
    attribution = job.pulled(layer, np.moveaxis(part, -1, axis), mode)
    extra = {"attribution": attribution, "relevance": relevance}
    return job.result(attribution.sum(axis=1), signed=True, layer=layer, extra=extra, units=chosen.tolist())


def unit_relevance(
    model: Model, layers: Sequence[str], target: int | str | None, rules: str | Composite
) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """From a batch (N, C, H, W) to the relevance of the outputs of ``layers`` for the target, None each one's top-1, by
    unit: (N, C, h, w) or (N, C)."""
    mode = Mode(rules=composite(rules, model))
    index = None if target is None else model.spec.index(target, Dense.of(model).classes)
    look = looking(model, gradients_and_scores, layers, index, mode=mode, start=relevant)
    units = {name: units_of(model, name) for name in layers}
    return lambda x: {name: units[name].first(model.ops, one) for name, one in look(x).items() if name in units}
