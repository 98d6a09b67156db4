"""What all attribution methods share: images in batches, targets resolved once, one differentiating pass, and a result
that says how it was made. Everything stays on the model's device until it is a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, wraps
from typing import Any, TypeVar

import numpy as np

from ...contract.backend import Array, Leaves, Mode, Model, Ops, Step, Tensor
from ...contract.errors import SettingError
from ...contract.spec import InputSpec
from ...inputs import images, targets
from ...inputs.images import ImageInput
from ...inputs.targets import Neuron, Score, Target, Wanted
from ...results.attribution import Attribution
from ...results.files import provenance
from ...support import batching
from .checks import check_maps
from .passes import (
    BESIDE,
    IMAGES,
    INPUT,
    LOGITS,
    MARKS,
    VALUES,
    Inferred,
    Reduce,
    as_they_are,
    differentiate,
    gradients_and_scores,
)

State = tuple[Tensor, ...]
Make = Callable[[int, range], Tensor]
"""Inputs (B, C, H, W) of an image's samples with these numbers, native."""
Add = Callable[[int, range], Leaves]
"""What is added at layers, by name, native, for these samples of an image."""
Fold = Callable[[int, range, Leaves, State | None], State]
"""The sums of an image, given its samples' numbers, gradients (B, ...) and scores, and the sums before, None at
first."""
Method = TypeVar("Method", bound=Callable[..., Attribution])


def marked(word: str) -> Callable[[Method], Method]:
    """Marks a method by an attribute, which those look for who choose among methods."""

    def mark(method: Method) -> Method:
        method.__dict__[word] = True
        return method

    return mark


needs_relu = marked("needs_relu")
"""Marks a method that a network without ReLUs does not take."""
input_first = marked("input_first")
"""Marks a method that looks at the input unless its ``layer`` names another place."""
needs_patience = marked("needs_patience")
"""Marks a method of thousands of passes, which one asks for by its name."""
needs_masks = marked("needs_masks")
"""Marks a control that tables without masks leave out."""


def held(method: Method) -> Method:
    """Has the network looked over once for all passes of a method."""

    @wraps(method)
    def within(model: Model, *args: Any, **options: Any) -> Attribution:
        with model.held():
            return method(model, *args, **options)

    return within  # type: ignore[return-value]


class Job:
    """One call of one method. ``chosen`` are the class indices, from the first :meth:`passes`, :meth:`scores` or
    :meth:`settle` on; ``neuron`` is explained in the place of a target; ``settings`` go to the provenance."""

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
        neuron: Neuron | None = None,
        **settings: Any,
    ) -> None:
        if neuron is not None:
            if target is not None:
                raise SettingError(f"target={target!r} and neuron={neuron!r}: give one; either says what is explained.")
            target, settings = targets.unit(neuron), {**settings, "neuron": targets.said(neuron)}
        self.technique = technique
        self.model = model
        batch = images.prepare(image, model.spec, fit=fit, input_range=input_range)
        count = targets.several(target)
        self.batch = batch.repeated(count) if len(batch) == 1 and count > 1 else batch
        self.table, self.targets, self._wanted = targets.look(model, target, self.batch)
        self.batch_size = batch_size
        self.settings = {"input_range": self.batch.input_range, "fit": fit, **settings}
        self.chosen: list[int | None] = [None] * len(self.batch)
        self._sha256: str | None = None
        self._digests: list[str] | None = None

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def settled(self) -> list[int | str | None]:
        """The chosen targets, as targets."""
        return [targets.ALL if index is None else index for index in self.chosen]

    @property
    def handed(self) -> list[Wanted]:
        """The chosen targets, for another call on these images."""
        pairs = zip(self._wanted, self.settled, strict=True)
        return [asked if isinstance(asked, Score) else index for asked, index in pairs]

    @cached_property
    def x(self) -> Array:
        """The images (N, C, H, W) as float64."""
        return self.batch.tensor.astype(np.float64)

    @property
    def whats(self) -> list[str]:
        """What each map is of, for warnings."""
        names = targets.labels(self.model, self.table, self.chosen)
        where = f"on {self.model.name} in {self.model.backend}"
        return [f"{self.technique} of {i} for {t!r} {where}" for i, t in zip(self.batch.names, names, strict=True)]

    def uploaded(self, arrays: Array) -> Callable[[int], Tensor]:
        """Gives ``arrays[i : i + 1]`` on the device, once for all samples of an image."""
        return lru_cache(maxsize=2)(lambda i: self.model.ops.asarray(arrays[i : i + 1]))

    @cached_property
    def image(self) -> Callable[[int], Tensor]:
        """Gives an image (1, C, H, W) on the device."""
        return self.uploaded(self.batch.tensor)

    def passes(self, reduce: Reduce, beside: Array | None = None, **options: Any) -> dict[str, Array]:
        """What ``reduce`` makes of all images, differentiated in batches, with those ``beside`` them (N, C, H, W);
        ``options`` as :func:`differentiate` has them."""
        marks = self.model.ops.asarray(targets.marks(self.model, self.table, self.targets))
        given = {IMAGES: self.batch.tensor, MARKS: marks}
        given |= {} if beside is None else {BESIDE: beside}
        found = self._each(differentiate(self.model, reduce, table=self.table, **options), given)
        self._choose([one.pop(LOGITS) for one in found])
        return {name: self._read([one[name] for one in found]) for name in found[0]}

    def pulled(self, layer: str, gradients: Array, mode: Mode) -> Array:
        """What ``gradients`` (N, ...) at a layer's output become at the images (N, C, H, W)."""
        ops = self.model.ops

        def pull(given: Leaves) -> Leaves:
            def score(leaves: Leaves) -> tuple[Tensor, None]:
                made = self.model.forward(leaves[INPUT], (layer,), mode=mode)[layer]
                return ops.sum(made * given["gradients"], tuple(range(1, len(made.shape)))), None

            return {VALUES: ops.value_and_grad(score, {INPUT: given[IMAGES]})[1][INPUT]}

        run = self.model.recorded(pull, ("pulled", layer, mode.rules))
        found = self._each(run, {IMAGES: self.batch.tensor, "gradients": gradients})
        return self._read([one[VALUES] for one in found])

    def _each(
        self, run: Step, given: Mapping[str, Array | Tensor], keep: Callable[[Leaves], Leaves] = dict, what: str = ""
    ) -> list[Leaves]:
        """What ``keep`` makes of each batch of what ``run`` makes of what is given for all images: arrays, which are
        brought to the device batch by batch, and tensors that are there."""
        found, ops = list[Leaves](), self.model.ops

        def step(start: int, stop: int) -> None:
            parts = {name: one[start:stop] for name, one in given.items()}
            native = {name: ops.asarray(one) if isinstance(one, np.ndarray) else one for name, one in parts.items()}
            found.append(keep(run(native)))

        self._run(len(self), step, what)
        return found

    def _read(self, parts: list[Tensor]) -> Array:
        """Batches as one array on the host."""
        read = [self.model.ops.numpy(one) for one in parts]
        return read[0] if len(read) == 1 else np.concatenate(read)

    def _choose(self, logits: list[Tensor]) -> None:
        """Resolve the targets; logits are read only where a target is None: a device must finish what it is doing
        before it can be read."""
        blank = np.zeros((len(self), self.table.width))
        read = self._read(logits) if None in self.targets else blank
        self.chosen = targets.choose(self.model, self.table, self.targets, read)

    def scores(self, layers: Sequence[str] = ()) -> tuple[Array, dict[str, list[Tensor]]]:
        """The targets' logits (N,), and each image's activations (1, ...) of ``layers`` on the device, by inference
        alone; resolves the targets."""

        def keep(made: Leaves) -> Leaves:
            return {**made, LOGITS: self.model.ops.numpy(made[LOGITS])}

        found = self._infer(as_they_are, layers, keep, ": activations")
        logits = np.concatenate([one[LOGITS] for one in found])
        self.chosen = targets.choose(self.model, self.table, self.targets, logits)
        parts = {name: [one[name][i : i + 1] for one in found for i in range(len(one[LOGITS]))] for name in layers}
        return pick(logits, self.chosen), parts

    def inferences(
        self, reduce: Inferred, layers: Sequence[str], host: Callable[[dict[str, Array]], dict[str, Array]] = dict
    ) -> dict[str, Array]:
        """What ``host`` makes of what ``reduce`` makes of the activations of ``layers``, of all images, by inference
        in batches; resolves the targets."""

        def keep(made: Leaves) -> Leaves:
            logits = made.pop(LOGITS)
            return {**host({name: self.model.ops.numpy(one) for name, one in made.items()}), LOGITS: logits}

        found = self._infer(reduce, layers, keep)
        self._choose([one.pop(LOGITS) for one in found])
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    def _infer(
        self, reduce: Inferred, layers: Sequence[str], keep: Callable[[Leaves], Leaves], what: str = ""
    ) -> list[Leaves]:
        """What ``keep`` makes of each batch's logits and of what ``reduce`` makes of its activations."""
        ops, names = self.model.ops, tuple(layers)

        def infer(given: Leaves) -> Leaves:
            kept = self.model.forward(given[IMAGES], (*names, *self.table.reads))
            return {**reduce(ops, kept), LOGITS: self.table.scores(ops, kept)}

        run = self.model.recorded(infer, ("inferences", reduce, names, self.table))
        return self._each(run, {IMAGES: self.batch.tensor}, keep, what)

    def settle(self) -> None:
        """Resolve the targets, by inference only if one of them is None, the top-1."""
        if None in self.targets:
            self.scores()
        else:
            self._choose([])

    def samples(
        self,
        count: int,
        make: Make,
        fold: Fold,
        *,
        add: Add | None = None,
        run: Step | None = None,
        reduce: Reduce = gradients_and_scores,
        **options: Any,
    ) -> list[Array]:
        """Differentiate ``count`` inputs for each image in batches that span images, and add up what comes of it on the
        device: the sums of every image, each (N, ...).

        Sums are float64, so that they hardly depend on the batch size, and memory does not on ``count``. ``add(image,
        samples)`` gives terms to be added at layers. Options as :func:`differentiate` has them; ``run`` is another step
        in its place.
        """
        ops, states = self.model.ops, dict[int, State]()
        finished: dict[int, list[Array]] = {}
        gradients = run or differentiate(self.model, reduce, table=self.table, **options)

        def step(runs: list[tuple[int, range]], given: Leaves) -> None:
            made, at, fresh = gradients({**given, **self._added(runs, add)}), 0, dict[int, State]()
            for i, which in runs:
                part = {name: value[at : at + len(which)] for name, value in made.items()}
                fresh[i] = fold(i, which, part, states.get(i))
                at += len(which)
            for one in (one for state in fresh.values() for one in state):
                ops.wait(one)  # only now do they count: a framework that runs ahead says here that memory is full
            states.update(fresh)
            for i, which in runs:
                if which.stop == count:
                    finished[i] = [ops.numpy(one) for one in states.pop(i)]

        self._runs(count, make, step)
        return [np.stack(sums) for sums in zip(*(finished[i] for i in range(len(self))), strict=True)]

    def _added(self, runs: list[tuple[int, range]], add: Add | None) -> Leaves:
        """What is added at layers for the samples of a batch."""
        terms = [add(i, which) if add else {} for i, which in runs]
        return {name: joined(self.model.ops, [one[name] for one in terms]) for name in terms[0]}

    def forwards(self, count: int, make: Make, add: Add | None = None) -> Array:
        """The targets' logits (N, count) for ``count`` inputs of each image, by inference; ``add(image, samples)``
        gives terms to be added at layers. Batches span images as in :meth:`samples`."""
        ops, model = self.model.ops, self.model
        scores: list[Tensor] = []

        def score(given: Leaves) -> Leaves:
            terms = {name: one for name, one in given.items() if name not in (IMAGES, MARKS)}
            scores = self.table.scores(ops, model.forward(given[IMAGES], self.table.reads, terms))
            return {"scores": targets.score(ops, self.table, scores, given[MARKS])}

        run = model.recorded(score, ("forwards", self.table))

        def step(runs: list[tuple[int, range]], given: Leaves) -> None:
            found = run({**given, **self._added(runs, add)})["scores"]
            ops.wait(found)
            scores.append(found)

        self._runs(count, make, step)
        return ops.numpy(joined(ops, scores)).reshape(len(self), count).astype(np.float64)

    def _runs(self, count: int, make: Make, step: Callable[[list[tuple[int, range]], Leaves], None]) -> None:
        """Call ``step`` with which samples of which images are in a batch, and the batch."""
        if count < 1:
            raise SettingError(f"{self.technique} with {count} samples: take at least 1.")
        ops = self.model.ops
        marks = ops.asarray(targets.marks(self.model, self.table, self.settled))

        def take(start: int, stop: int) -> None:
            runs = list(split(start, stop, count))
            x = joined(ops, [make(i, which) for i, which in runs])
            rows = joined(ops, [ops.zeros((len(which), 1)) + marks[i : i + 1] for i, which in runs])
            step(runs, {IMAGES: x, MARKS: rows})

        self._run(len(self) * count, take)

    def _run(self, total: int, step: Callable[[int, int], None], what: str = "") -> None:
        with self.model.held():
            batching.run(self.model, total, self.batch_size, step, self.technique + what)
            # Here, where the network needs no look of its own, and a device is still at work.
            self._sha256 = self.model.sha256()
            self._digests = self._digests or self.batch.digest()

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
        told = targets.told(self.model, self.table, self.chosen)
        made = {**self.settings, **settings, "target": told}
        if layer is not None:
            made["layer"] = layer
        values = values.astype(self.model.ops.dtype, copy=False)
        check_maps(values, self.whats, cause)
        spec = self.model.spec
        if spec.extent:
            values = values.reshape(len(values), *spec.extent)
            extra = {name: _unfolded(one, spec) for name, one in (extra or {}).items()}
        return Attribution(
            values,
            provenance(self.model, self.technique, made, self.batch, self._sha256, self._digests),
            self.batch,
            tuple(self.chosen),
            tuple(one["label"] for one in told),
            signed,
            layer,
            {key: value.astype(self.model.ops.dtype, copy=False) for key, value in (extra or {}).items()},
        )


def _unfolded(value: Array, spec: InputSpec) -> Array:
    """An array over the input's places, in the input's own axes; anything else as it is."""
    if value.ndim < 3 or value.shape[-2:] != spec.size:
        return value
    return value.reshape(*value.shape[:-2], *spec.extent)


def pick(logits: Array, chosen: Sequence[int | None]) -> Array:
    """The chosen logit of each row (N,), the sum of the row where the choice is None."""
    rows = zip(logits, chosen, strict=True)
    return np.array([row.sum() if index is None else row[index] for row, index in rows])


def added(state: State | None, *terms: Tensor) -> State:
    """Sums with the float64 ``terms`` added to them."""
    return terms if state is None else tuple(a + b for a, b in zip(state, terms, strict=True))


def split(start: int, stop: int, count: int) -> Iterator[tuple[int, range]]:
    """Which samples of which images the places ``start`` to ``stop`` are, with ``count`` samples for each image."""
    while start < stop:
        i, first = divmod(start, count)
        which = range(first, min(count, first + stop - start))
        yield i, which
        start += len(which)


def joined(ops: Ops, parts: Sequence[Tensor]) -> Tensor:
    """Along the first axis."""
    return parts[0] if len(parts) == 1 else ops.concat(parts)
