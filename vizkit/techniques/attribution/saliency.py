"""Saliency maps by the gradient at the input."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Mode, Model
from ...inputs import targets
from ..common.job import Job, held, input_first
from ..common.method import Attribution, ImageInput, Neuron, SettingError, Target, one_of
from ..common.passes import VALUES, strongest, strongest_gradient
from .place import Place

MODES = ("inference", "published")


@input_first
@held
def saliency(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    neuron: Neuron | None = None,
    input_range: str | None = None,
    mode: str = "inference",
    fit: str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
) -> Attribution:
    """Saliency by the gradient of a class score (Simonyan, Vedaldi & Zisserman 2013, arXiv 1312.6034).

    ``M[y, x] = max_c |d S_t / d I[c, y, x]|`` with ``S_t`` the target's logit, not its probability, and ``I`` the
    normalised input.

    Args:
        model: a network of :func:`vizkit.load` or :func:`vizkit.wrap`.
        image: path, Pillow image, uint8 (H, W, 3) array, an array or tensor that is ready, or a list of them, see
            :func:`vizkit.images.prepare`.
        target: None (top-1), index, label, "all" (the sum of all logits), a score of :mod:`vizkit.targets`, or a list
            with one per image; a list for a single image gives a map for each.
        layer: differentiate at this layer's output in the place of the input: ``A_k`` for ``I``, the map enlarged
            bilinearly (half-pixel centres). None is the input.
        neuron: a layer's unit to explain in the place of a target: ``("layer4", 17)``, its activations added up over
            all places, or ``("layer4", 17, 3, 4)`` at one row and column of the layer's maps.
        input_range: "imagenet" feeds normalised pixels, "unit" pixels in 0..1. None means "imagenet", and "unit" in
            published mode.
        mode: "inference" (dropout off, batch norm on stored statistics), or "published": what the Gluon homework
            computed, i.e. the sum of all logits of pixels in 0..1, squashed to the input's size, in a training-mode
            forward pass with dropout and with batch statistics of each single image.
        fit: "crop" or "squash", see :func:`vizkit.images.prepare`; None means "crop", and "squash" in published mode.
        seed: of the dropout masks in published mode.
        batch_size: images differentiated together; bounds memory, does not change the maps. None takes as many as fit.

    Returns:
        :class:`Attribution` with ``values`` (N, H, W) >= 0 in the model's dtype, per unit of normalised input; with
        ``layer``, ``extra["attribution"]`` is the gradient there, (N, C, h, w) or as the layer has it.

    Raises:
        ImageError, UnknownNameError (label or layer), SettingError, ShapeError, LayerError for a layer without extent,
        DisconnectedError where it comes behind the ``neuron``.

    Believe:
        Believe it as where a tiny change of a pixel moves the score; it is noisy, and says nothing of large changes.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.saliency(model, vizkit.images.sample(), target="tabby").values.shape
        (1, 224, 224)
    """
    one_of("mode", mode, MODES)
    published = mode == "published"
    if published and (target not in (None, targets.ALL) or neuron is not None):
        given = f"target={target!r}" if neuron is None else f"neuron={neuron!r}"
        raise SettingError(f"mode='published' differentiates the sum of all logits; {given} contradicts it.")
    if published:
        target, batch_size = targets.ALL, 1
    input_range = input_range or ("unit" if published else "imagenet")
    fit = fit or ("squash" if published else "crop")
    job = Job(
        "saliency", model, image, target, neuron=neuron, input_range=input_range, fit=fit, batch_size=batch_size,
        mode=mode, seed=seed if published else None,
    )  # fmt: skip
    forward_mode = Mode(training=np.random.default_rng(seed) if published else None)
    if layer is None:
        return job.result(job.passes(strongest_gradient, mode=forward_mode)[VALUES])
    place = Place(job, layer)
    return place.result(place.gradients(mode=forward_mode), strongest)
