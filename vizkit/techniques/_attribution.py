"""What all attribution methods share: images in batches, targets resolved once, one differentiating pass, and a result
that says how it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from .. import batching, images, targets
from ..backend import INFERENCE, OUTPUT, Array, Mode, Model, Tensor
from ..errors import SettingError
from ..images import ImageInput
from ..results import Attribution, provenance
from ..targets import Target
from ._checks import check_maps

INPUT = ":input"
"""The leaf that stands for the image; no layer has such a name."""
Terms = Mapping[str, Array]


Method = TypeVar("Method", bound=Callable[..., Attribution])


def needs_relu(method: Method) -> Method:
    """Marks a method that a network without ReLUs does not take."""
    method.__dict__["needs_relu"] = True
    return method


class Pass:
    """One forward and backward pass over a batch, as NumPy: class indices and their scores (N,), activations and
    gradients by layer, the gradient at the image under :data:`INPUT`."""

    def __init__(
        self, chosen: list[int | None], scores: Array, activations: dict[str, Array], gradients: dict[str, Array]
    ):
        self.chosen = chosen
        self.scores = scores
        self.activations = activations
        self.gradients = gradients


def differentiate(
    model: Model,
    x: Array,
    target: Target,
    *,
    layers: Sequence[str] = (),
    at_input: bool = True,
    mode: Mode = INFERENCE,
) -> Pass:
    """Logits, and the gradient of the targets' logits at the input, at ``layers``, or at both, in one pass.

    At a layer the leaf is a zero tensor added to its output; without ``at_input`` nothing before the first layer is
    differentiated, so that memory and time of the backward pass are those of the tail.
    """
    ops = model.ops
    image = ops.asarray(x)
    leaves = {name: ops.asarray(np.zeros((len(x), *model.layers[name].shape[1:]))) for name in layers}
    if at_input:
        leaves[INPUT] = image
    chosen: list[int | None] = []

    def score(leaves: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        add = {name: leaves[name] for name in layers}
        kept = model.forward(leaves.get(INPUT, image), (*layers, OUTPUT), add, mode)
        chosen.extend(targets.resolve(model, target, kept[OUTPUT]))
        return targets.score(ops, kept[OUTPUT], chosen), {name: kept[name] for name in layers}

    scores, gradients, kept = ops.value_and_grad(score, leaves)
    return Pass(
        chosen,
        ops.numpy(scores),
        {name: ops.numpy(value) for name, value in kept.items()},
        {name: ops.numpy(value) for name, value in gradients.items()},
    )


class Job:
    """One call of one method. ``chosen`` are the class indices, from the first :meth:`passes`, :meth:`scores` or
    :meth:`settle` on; ``settings`` go to the provenance."""

    def __init__(
        self,
        technique: str,
        model: Model,
        image: ImageInput,
        target: Target,
        *,
        input_range: str,
        fit: str,
        batch_size: int | None,
        **settings: Any,
    ) -> None:
        self.technique = technique
        self.model = model
        self.batch = images.prepare(image, model.spec, fit=fit, input_range=input_range)
        self.targets = targets.listed(target, len(self.batch))
        self.batch_size = batch_size
        self.settings = {"input_range": self.batch.input_range, "fit": fit, **settings}
        self.chosen: list[int | None] = [None] * len(self.batch)
        self._sha256: str | None = None

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def x(self) -> Array:
        """The images (N, C, H, W) as float64."""
        return self.batch.tensor.astype(np.float64)

    @property
    def whats(self) -> list[str]:
        """What each map is of, for warnings."""
        names = targets.labels(self.model, self.chosen)
        where = f"on {self.model.name} in {self.model.backend}"
        return [f"{self.technique} of {i} for {t!r} {where}" for i, t in zip(self.batch.names, names, strict=True)]

    def passes(self, take: Callable[[Pass], None], **options: Any) -> None:
        """Differentiate all images in batches, in order; ``options`` as :func:`differentiate` has them."""

        def step(start: int, stop: int) -> None:
            done = differentiate(self.model, self.batch.tensor[start:stop], self.targets[start:stop], **options)
            take(done)
            found.extend(done.chosen)

        found: list[int | None] = []
        self._run(len(self), step)
        self.chosen = found

    def scores(self, layers: Sequence[str] = ()) -> tuple[Array, dict[str, Array]]:
        """The targets' logits (N,) and the activations of ``layers`` by inference alone; resolves the targets."""
        found = self.activations((*layers, OUTPUT))
        logits = found.pop(OUTPUT)
        self.chosen = targets.choose(self.model, self.targets, logits)
        return pick(logits, self.chosen), found

    def settle(self) -> None:
        """Resolve the targets, by inference only if one of them is None, the top-1."""
        shape = self.model.output_shape
        if None in self.targets or len(shape) != 2:
            self.scores()
        else:
            self.chosen = targets.choose(self.model, self.targets, np.zeros((len(self), shape[1])))

    def activations(self, layers: Sequence[str]) -> dict[str, Array]:
        """Activations of ``layers`` for all images, by inference alone, no further than needed."""
        ops = self.model.ops
        found: dict[str, list[Array]] = {name: [] for name in layers}

        def step(start: int, stop: int) -> None:
            kept = self.model.forward(ops.asarray(self.batch.tensor[start:stop]), tuple(found))
            for name, value in kept.items():
                found[name].append(ops.numpy(value))

        self._run(len(self), step, ": activations")
        return {name: np.concatenate(values) for name, values in found.items()}

    def samples(
        self,
        count: int,
        make: Callable[[int, int], Array],
        take: Callable[[int, int, dict[str, Array]], None],
        **options: Any,
    ) -> None:
        """Differentiate ``count`` inputs for each image in batches that span images.

        ``make(image, sample)`` gives one input (C, H, W), by NumPy alone; ``take(image, sample, gradients)`` gets the
        gradients there, one sample after the other, so that sums do not depend on the batch size, nor memory on
        ``count``. Options as :func:`differentiate` has them.
        """

        def step(pairs: list[tuple[int, int]], x: Array) -> None:
            done = differentiate(self.model, x, self._wanted(pairs), **options)
            for row, (i, s) in enumerate(pairs):
                take(i, s, {name: value[row] for name, value in done.gradients.items()})

        self._pairs(count, make, step)

    def forwards(
        self,
        count: int,
        make: Callable[[int, int], Array],
        take: Callable[[int, int, float], None],
        add: Callable[[int, int], Terms] | None = None,
    ) -> None:
        """The target's logit for ``count`` inputs of each image, by inference; ``add(image, sample)`` gives terms to be
        added at layers. Batches span images as in :meth:`samples`."""
        ops = self.model.ops

        def step(pairs: list[tuple[int, int]], x: Array) -> None:
            terms = [add(i, s) if add else {} for i, s in pairs]
            added = {name: ops.asarray(np.stack([one[name] for one in terms])) for name in terms[0]}
            logits = ops.numpy(self.model.forward(ops.asarray(x), add=added)[OUTPUT])
            for (i, s), score in zip(pairs, pick(logits, [self.chosen[i] for i, _ in pairs]), strict=True):
                take(i, s, float(score))

        self._pairs(count, make, step)

    def _pairs(
        self,
        count: int,
        make: Callable[[int, int], Array],
        step: Callable[[list[tuple[int, int]], Array], None],
    ) -> None:
        if count < 1:
            raise SettingError(f"{self.technique} with {count} samples: take at least 1.")
        total = len(self) * count

        def build(start: int, stop: int) -> Array:
            made = [make(*divmod(k, count)) for k in range(start, stop)]
            return np.stack(made, dtype=self.model.ops.dtype, casting="same_kind")

        def take(start: int, stop: int) -> None:
            step([divmod(k, count) for k in range(start, stop)], ahead.take(start, stop))

        with batching.Ahead(build, total) as ahead:
            self._run(total, take)

    def _run(self, total: int, step: Callable[[int, int], None], what: str = "") -> None:
        with self.model.held():
            batching.run(self.model, total, self.batch_size, step, self.technique + what)
            self._sha256 = self.model.sha256()  # Here, where it needs no look of its own.

    def _wanted(self, pairs: Sequence[tuple[int, int]]) -> list[int | str]:
        chosen = (self.chosen[i] for i, _ in pairs)
        return [targets.ALL if index is None else index for index in chosen]

    def result(
        self,
        values: Array,
        *,
        signed: bool = False,
        layer: str | None = None,
        extra: Mapping[str, Array] | None = None,
        cause: str = "",
        **settings: Any,
    ) -> Attribution:
        """The result, in the model's dtype; warns of maps that are flat or not finite, with ``cause`` as the reason."""
        names = targets.labels(self.model, self.chosen)
        made = {**self.settings, **settings}
        made["target"] = [{"index": i, "label": name} for i, name in zip(self.chosen, names, strict=True)]
        if layer is not None:
            made["layer"] = layer
        values = values.astype(self.model.ops.dtype, copy=False)
        check_maps(values, self.whats, cause)
        return Attribution(
            values,
            provenance(self.model, self.technique, made, self.batch, self._sha256),
            self.batch,
            tuple(self.chosen),
            tuple(names),
            signed,
            layer,
            {key: value.astype(self.model.ops.dtype, copy=False) for key, value in (extra or {}).items()},
        )


def pick(logits: Array, chosen: Sequence[int | None]) -> Array:
    """The chosen logit of each row (N,), the sum of the row where the choice is None."""
    rows = zip(logits, chosen, strict=True)
    return np.array([row.sum() if index is None else row[index] for row, index in rows])


def strongest(gradient: Array) -> Array:
    """(N, C, H, W) to (N, H, W): the largest absolute value over the colour channels."""
    return np.asarray(np.abs(gradient).max(axis=1))
