"""What perturbation methods and faithfulness metrics share: images, their targets, and scores of changed images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import batching, images, targets
from .backend import OUTPUT, Array, Model, Tensor
from .errors import MapWarning, SettingError
from .images import Batch, ImageInput
from .results import Attribution, provenance
from .targets import Target

OUTPUTS = ("logit", "probability")


@dataclass(frozen=True)
class Scene:
    """N prepared images, the class of each that is watched (None for the sum of all logits), and how: ``output`` is
    "logit" or "probability" (the softmax over all logits). ``original`` (N,) are the scores of the unchanged images,
    ``logits`` (N, classes) all their logits, float64."""

    model: Model
    batch: Batch
    chosen: tuple[int | None, ...]
    output: str
    logits: Array
    original: Array

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        height, width = self.batch.tensor.shape[2:]
        return height, width

    def scores(self, i: int, x: Tensor) -> Array:
        """Scores (B,) float64 of image ``i``'s class for native inputs (B, C, H, W)."""
        return read(logits_of(self.model, x), (self.chosen[i],) * len(x), self.output)

    def mixed(self, i: int, keep: Array, baseline: Array) -> Tensor:
        """``keep * image + (1 - keep) * baseline`` of image ``i``: masks (B, H, W) in 0..1 and one baseline (C, H, W)
        give a native (B, C, H, W)."""
        ops = self.model.ops
        mask = ops.asarray(keep[:, None])
        return ops.asarray(self.batch.tensor[i][None]) * mask + ops.asarray(baseline[None]) * (1 - mask)

    def mixed_scores(self, i: int, keep: Array, baseline: Array) -> Array:
        """Scores (B,) of what :meth:`mixed` makes."""
        return self.scores(i, self.mixed(i, keep, baseline))

    def each(
        self, count: int, batch_size: int | None, label: str, step: Callable[[int, int, int], None]
    ) -> None:
        """Call ``step(image, start, stop)`` over ``range(count)`` variants of every image, in batches that fit."""
        for i in range(len(self)):
            title = f"{label}, image {i + 1} of {len(self)}" if len(self) > 1 else label
            batch_size = batching.run(self.model, count, batch_size, lambda lo, hi, i=i: step(i, lo, hi), title)

    def attribution(
        self,
        values: Array,
        technique: str,
        settings: Mapping[str, Any],
        *,
        signed: bool,
        extra: Mapping[str, Array] | None = None,
    ) -> Attribution:
        """Maps (N, H, W) as a result, in the model's dtype; a flat or non-finite one comes with a MapWarning."""
        names = targets.labels(self.model, self.chosen)
        made = dict(settings) | {"input_range": self.batch.input_range}
        made["target"] = [{"index": index, "label": name} for index, name in zip(self.chosen, names, strict=True)]
        values = np.asarray(values, dtype=self.model.dtype)
        warn_flat(values, technique)
        return Attribution(
            values,
            provenance(self.model, technique, made, self.batch),
            self.batch,
            self.chosen,
            tuple(names),
            signed=signed,
            extra={} if extra is None else extra,
        )


def scene(
    model: Model,
    image: ImageInput,
    target: Target,
    *,
    output: str = "logit",
    input_range: str = "imagenet",
    fit: str = "crop",
    batch_size: int | None = None,
) -> Scene:
    """Prepare the images and choose their targets by one pass over them. Raises what those two raise, and SettingError
    for an unknown ``output``, or "probability" of all classes at once, which is 1 whatever the image."""
    if output not in OUTPUTS:
        raise SettingError(f"output={output!r}: expected {' or '.join(map(repr, OUTPUTS))}.")
    batch = images.prepare(image, model.spec, fit=fit, input_range=input_range)
    if isinstance(target, list | tuple) and len(target) != len(batch):
        raise SettingError(f"{len(target)} targets for {len(batch)} images: give one target for all, or one for each.")
    found = logits_in_batches(model, batch.tensor, batch_size, "predict")
    chosen = targets.choose(model, target, found)
    if output == "probability" and None in chosen:
        raise SettingError("target='all' has no probability: all classes together have 1. Take output='logit'.")
    return Scene(model, batch, tuple(chosen), output, found, read(found, chosen, output))


def logits_of(model: Model, x: Tensor) -> Array:
    """Logits (B, classes) float64 of a native input."""
    return np.asarray(model.ops.numpy(model.forward(x)[OUTPUT]), dtype=np.float64)


def logits_in_batches(model: Model, tensor: Array, batch_size: int | None, label: str) -> Array:
    """Logits (N, classes) float64 of inputs (N, C, H, W)."""
    found: list[Array] = []
    batching.run(
        model,
        len(tensor),
        batch_size,
        lambda start, stop: found.append(logits_of(model, model.ops.asarray(tensor[start:stop]))),
        label,
    )
    return np.concatenate(found)


def read(logits: Array, chosen: list[int | None] | tuple[int | None, ...], output: str) -> Array:
    """The score (N,) of each row of logits (N, classes): the chosen logit, their sum for None, or the probability."""
    values = softmax(logits) if output == "probability" else logits
    return np.array([row.sum() if index is None else row[index] for row, index in zip(values, chosen, strict=True)])


def softmax(logits: Array) -> Array:
    """Probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def warn_flat(values: Array, technique: str, cause: str = "the target's score does not react to what was changed") -> None:
    """A MapWarning for every map (N, H, W) that holds one value only, or values that are not finite."""
    for i, values_of_one in enumerate(values):
        if not np.isfinite(values_of_one).all():
            text = f"{technique}: map {i} holds values that are not finite; look for NaN in the network's parameters."
        elif values_of_one.size > 1 and values_of_one.min() == values_of_one.max():
            text = (
                f"{technique}: map {i} is {values_of_one.flat[0]:g} everywhere. Likely cause: {cause} (a saturated "
                "probability, a target without evidence in the picture, or a baseline that resembles it)."
            )
        else:
            continue
        warnings.warn(text, MapWarning, stacklevel=4)
