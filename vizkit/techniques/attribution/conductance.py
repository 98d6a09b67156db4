"""Conductance: what flows through a layer's units, or through one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...inputs import targets
from ..common.layers import choose_layer
from ..common.method import Attribution, ImageInput, Job, Model, Neuron, SettingError, Target, held
from .flow import EVEN, along, steps_of, through
from .place import Place, total
from .quadrature import quadrature
from .ways import Ways, chosen_baselines, complete, named, reported, starts_of

CAUSE = "image and baseline are the same, or nothing of the score flows through what was asked for."


@held
def conductance(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    neuron: Neuron | None = None,
    baseline: ImageInput = "black",
    baselines: Sequence[ImageInput] | None = None,
    steps: int = 50,
    rule: str = EVEN,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Conductance (Dhamdhere, Sundararajan & Yan 2018, arXiv 1805.12233): integrated gradients of the input, by the
    unit of a layer that they flow through.

    Of a layer: ``M = up(sum_c C_c)``, ``C_c[y, x] = integral of dS_t/dA_c[y, x] dA_c[y, x]`` while the input goes
    straight from ``B`` to ``I``, as ``sum_k g_k (A(a_(k+1)) - A(a_k))``. Complete, ``sum C = S_t(I) - S_t(B)``, where
    everything passes the layer. Of a ``neuron`` ``y``: where in the input that comes from, ``M = sum_c (I - B)_c *
    sum_k w_k dS_t/dy dy/dI_c``; it adds up to the conductance of ``y``.

    Args: as :func:`vizkit.integrated_gradients` has them, and
        layer: None takes that of :func:`vizkit.gradcam`, or of the ``neuron``.
        neuron: ``("layer4", 17)``, all places of a unit together, or ``("layer4", 17, 3, 4)``; the target stays a
            class.
        rule: "even" compares activations at the baseline, at even points ``(k + 1/2) / steps``, and at the picture;
            ``g_k`` is the mean of the gradients at both ends of a step, and never that at the baseline, where pools of
            a plain picture have no largest value. Or one of :func:`vizkit.integrated_gradients`: ``steps + 1`` nodes,
            and ``g_k`` at the first end, as captum has it, which leaves out what lies beyond the nodes. For a
            ``neuron`` these are the rule's own nodes and weights, for "even" those of "riemann_middle".

    Returns:
        :class:`Attribution`, signed, (N, H, W); ``extra["attribution"]`` is ``C`` (N, C, h, w), or at the input
        (N, C, H, W) for a neuron; of a layer, ``extra["completeness_error"]`` (N,), relative, in the provenance too.

    Raises:
        ImageError, UnknownNameError (label or layer), SettingError, LayerError for a layer without extent. Warns with
        MapWarning when the completeness error exceeds 5 %, and of flat or non-finite maps.

    Believe:
        Believe it as the part of a score's rise that flows through the layer, relative to the baseline.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.conductance(model, vizkit.images.sample(), steps=8, rule="riemann_left").layer
        'features'
    """
    if neuron is not None and layer not in (None, targets.unit(neuron).layer):
        raise SettingError(f"layer={layer!r} and neuron={neuron!r}: give one, or the neuron's own layer.")
    chosen = chosen_baselines(baseline, baselines)
    settings: dict[str, Any] = {**named(chosen, baselines is not None), "steps": steps, "rule": rule, "seed": seed}
    options: dict[str, Any] = {"input_range": input_range, "fit": fit, "batch_size": batch_size}
    job = Job("conductance", model, image, target, **options, **settings)
    at_input, starts = Place(job, None), starts_of(job, chosen, seed)
    job.settle()
    if neuron is not None:
        nodes, weights = quadrature("riemann_middle" if rule == EVEN else rule, steps)
        found, _ = Ways(at_input, starts, nodes).integral(weights, run=through(job, neuron))
        return at_input.result(found, total, signed=True, cause=CAUSE, neuron=targets.said(neuron))
    place = Place(job, choose_layer(model, layer)[0])
    nodes, weights = steps_of(rule, steps)
    found, rise = along(Ways(at_input, starts, nodes), place, weights)
    error = complete(job, found, rise, steps)
    return place.result(found, total, signed=True, cause=CAUSE, **reported(error))
