"""What perturbation methods and faithfulness metrics share: the scores of changed images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...contract.answers import probabilities
from ...contract.backend import Array, Model, Tensor
from ...contract.errors import SettingError, one_of, warn
from ...inputs import targets
from ...inputs.images import ImageInput
from ...inputs.targets import Target
from ...results.attribution import Attribution
from ...support import batching
from .checks import UNCHANGED
from .job import Job, Make

OUTPUTS = ("logit", "probability")
Take = Callable[[int, range, Tensor], None]


class Probe(Job):
    """A job that asks for scores alone. ``output`` is what is watched of each image's class: its "logit", its
    "probability" (the softmax over all logits, or what the network gives if it ends in one), or for None the
    probability, and the logit for the sum of all. ``logits`` (N, classes) and ``original`` (N,), the scores, are those
    of the unchanged images, float64.

    Raises what preparing images and choosing targets raise, and SettingError for an unknown ``output``, or for the
    probability of all classes together, which is 1 whatever the image.
    """

    def __init__(
        self,
        technique: str,
        model: Model,
        image: ImageInput,
        target: Target,
        *,
        output: str | None = "logit",
        **options: Any,
    ) -> None:
        if output is not None:
            one_of("output", output, OUTPUTS)
        super().__init__(technique, model, image, target, **options)
        self.logits: Array = self.tables(self.batch.tensor, f"{technique}: targets")
        self.chosen = targets.choose(model, self.table, self.targets, self.logits)
        if output == "probability" and None in self.chosen:
            raise SettingError("target='all' has no probability: all classes together have 1. Take output='logit'.")
        classes = self.table.dense.classes if self.table.dense.order == "NC" else 0
        asked = output != "logit" and classes > 0 and self.table.output
        self.ended = asked and model.ending(self.logits[:, :classes]) != ""
        """Whether the network's own last step makes probabilities."""
        known = [index is not None and index < classes for index in self.chosen]
        if output == "probability" and not all(known):
            raise SettingError("Only a class of a classifier has a probability. Take output='logit'.")
        self.outputs = [output or ("probability" if one else "logit") for one in known]
        self.settings["output"] = self.outputs[0] if len(set(self.outputs)) == 1 else self.outputs
        self.original = self.read(self.logits, self.chosen, self.outputs)
        self._reach: dict[int, tuple[float, float]] = {}
        self._marks = self.uploaded(targets.marks(model, self.table, self.settled))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        height, width = self.batch.tensor.shape[2:]
        return height, width

    def variants(self, counts: int | Sequence[int], make: Make, take: Take | None = None) -> list[Array]:
        """Scores of the inputs that ``make`` gives: for each image (count,), float64. ``counts`` of each image, or of
        all. ``take(image, samples, scores)`` may add up what it needs on the device; scores are read at the end."""
        found: list[list[Tensor]] = [[] for _ in range(len(self))]

        def step(i: int, start: int, stop: int) -> None:
            scores = self._scores(i, make(i, range(start, stop)))
            self.model.ops.wait(scores)  # before they count: here a framework says that memory has run out
            if take is not None:
                take(i, range(start, stop), scores)
            found[i].append(scores)

        self.each(counts, step)
        none = np.empty(0)  # a single superpixel has no subsets
        return [self._noted(i, self.model.ops.concat(one)) if one else none for i, one in enumerate(found)]

    def probe(self, i: int, x: Tensor) -> Array:
        """Scores (B,) float64 of image ``i``'s class for native inputs (B, C, H, W)."""
        return self._noted(i, self._scores(i, x))

    def _scores(self, i: int, x: Tensor) -> Tensor:
        ops = self.model.ops
        watched = ops.double(self.table.scores(ops, self.model.forward(x, self.table.reads)))
        if self.outputs[i] == "probability":
            watched = self.table.probability(ops, watched, self.ended)
        return targets.score(ops, self.table, watched, ops.double(self._marks(i)) + 0.0 * watched[:, :1])

    def tables(self, tensor: Array, label: str) -> Array:
        """Scores (B, K) float64 of all columns for inputs (B, C, H, W)."""

        def step(start: int, stop: int) -> Array:
            return self.table_of(self.model.ops.asarray(tensor[start:stop]))

        return np.concatenate(batching.collected(self.model, len(tensor), self.batch_size, step, label))

    def table_of(self, x: Tensor) -> Array:
        """The same for a native input."""
        ops = self.model.ops
        return np.asarray(ops.numpy(self.table.scores(ops, self.model.forward(x, self.table.reads))), dtype=np.float64)

    def read(self, scores: Array, chosen: Sequence[int | None], outputs: Sequence[str]) -> Array:
        """The score (N,) of each row of scores (N, K): the chosen one, the sum of all for None, or the probability."""
        certain = scores if self.ended else probabilities(scores[:, : self.table.dense.classes])
        rows = zip(scores, certain, chosen, outputs, strict=True)
        found = []
        for row, sure, index, output in rows:
            values = sure if output == "probability" else row
            found.append(row[: self.table.dense.classes].sum() if index is None else values[index])
        return np.array(found)

    def _noted(self, i: int, scores: Tensor) -> Array:
        found = self.model.ops.numpy(scores)
        low, high = self._reach.get(i, (self.original[i], self.original[i]))
        self._reach[i] = min(low, found.min()), max(high, found.max())
        return found

    def mixed(self, i: int, keep: Tensor, baseline: Tensor) -> Tensor:
        """``keep * image + (1 - keep) * baseline`` of image ``i``: native masks (B, 1, H, W) in 0..1 and a native
        baseline (1, C, H, W) give (B, C, H, W)."""
        return self.image(i) * keep + baseline * (1.0 - keep)

    def probe_mixed(self, i: int, keep: Array, baseline: Array) -> Array:
        """Scores (B,) of what :meth:`mixed` makes of masks (B, H, W) and a baseline (C, H, W)."""
        ops = self.model.ops
        return self.probe(i, self.mixed(i, ops.asarray(keep[:, None]), ops.asarray(baseline[None])))

    def result(self, values: Array, *, cause: str = UNCHANGED, **more: Any) -> Attribution:
        """As every job's, and a warning where the scores differ by rounding errors alone: they make a map, too."""
        for i, (low, high) in self._reach.items():
            scale = float(np.abs(self.logits[i]).max()) * (1.0 if self.outputs[i] == "logit" else high)
            if high - low <= self.model.rounding * scale and np.ptp(values[i]) > 0:
                warn(f"{self.whats[i]} shows rounding errors alone: {cause}")
        return super().result(values, cause=cause, **more)

    def each(self, counts: int | Sequence[int], step: Callable[[int, int, int], None]) -> None:
        """Call ``step(image, start, stop)`` over the variants of every image, in batches that fit: ``counts`` of each
        image, or of all."""
        every = [counts] * len(self) if isinstance(counts, int) else counts
        size = self.batch_size
        for i, count in enumerate(every):
            title = f"{self.technique}, image {i + 1} of {len(self)}" if len(self) > 1 else self.technique
            size = batching.run(self.model, count, size, partial(step, i), title)
