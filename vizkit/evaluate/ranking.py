"""A table of methods by metrics, with the controls that make it honest."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .. import techniques
from ..contract.backend import Array, Model
from ..contract.errors import SettingError, check_known
from ..inputs import targets
from ..inputs.images import Batch, ImageInput
from ..inputs.targets import Target, Wanted
from ..results.base import Result
from ..results.files import provenance
from ..support import columns
from ..support.crew import crew
from ..support.files import replacing
from ..support.progress import steps_bar
from ..techniques.common.probe import Probe
from ..techniques.controls import CONTROLS
from ..zoo.shapes import TOLERANCE, Samples
from ._maps import Method, as_masks, explain
from .metrics import METRICS, Case
from .statistics import ranks

Methods = Mapping[str, Method] | Sequence[str | Method]
TOGETHER = 32
"""Pictures that a method gets at once, whoever does the work, so that the same are always computed together."""


@dataclass(frozen=True, repr=False)
class Ranking(Result):
    """``values`` (methods, metrics): means over the images, of ``per_image`` (methods, metrics, N). ``methods`` and
    ``metrics`` are their names, the best method first: the one of the lowest ``mean_rank`` (methods,), from 1, over the
    metrics that judge a map. Sparseness and complexity describe it, and do not count."""

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    per_image: Array
    mean_rank: Array
    stored: ClassVar[tuple[str, ...]] = ("values", "per_image", "mean_rank", "methods", "metrics")

    def records(self) -> list[dict[str, Any]]:
        """A row a method, the best first; ``control`` marks those that know nothing of the network."""
        rows = zip(self.methods, self.mean_rank.tolist(), self.values.tolist(), strict=True)
        return [
            {"method": name, "control": name in CONTROLS, "mean_rank": mean} | dict(zip(self.metrics, row, strict=True))
            for name, mean, row in rows
        ]

    def rows(self) -> list[list[str]]:
        """The table as text, heading first; an arrow says which way is better, parentheses that a metric only
        describes."""
        arrows = [f"{name} {'↑' if METRICS[name].higher else '↓'}" for name in self.metrics]
        heads = [head if METRICS[name].judges else f"({head})" for head, name in zip(arrows, self.metrics, strict=True)]
        body = [
            [name, f"{rank:.2f}", *(columns.number(value) for value in row)]
            for name, rank, row in zip(self.methods, self.mean_rank, self.values, strict=True)
        ]
        return [["method", "mean rank ↓", *heads], *body]

    def table(self, width: int | None = None) -> str:
        """The table as text in columns; several lines a method where one is longer than ``width``."""
        rows = self.rows()
        return "\n".join(columns.laid(rows, range(1, len(rows[0])), width, ruled=(0,)))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """As every result, and the table as ``.csv`` (full precision) or ``.txt``."""
        target = Path(path)
        if target.suffix not in (".csv", ".txt"):
            return super().save(target)
        with replacing(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            if target.suffix == ".txt":
                stream.write(self.table() + "\n")
            else:
                writer = csv.writer(stream)
                writer.writerow(["method", "mean_rank", *self.metrics])
                for name, mean, row in zip(self.methods, self.mean_rank.tolist(), self.values.tolist(), strict=True):
                    writer.writerow([name, *map(repr, (mean, *row))])
        return target


def rank(
    model: Model,
    image: ImageInput | Samples,
    methods: Methods,
    *,
    masks: npt.ArrayLike | None = None,
    target: Target = None,
    metrics: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
    workers: int | None = None,
    scheduler: str | None = None,
) -> Ranking:
    """Judge methods by metrics, always beside a random map and an edge filter, and with masks a map of the centre.

    Args:
        model, batch_size, input_range, fit: as for :func:`vizkit.occlusion`.
        image: images as for any technique, or samples of ``shapes``, which bring masks and labels and are taken as they
            are.
        methods: names of techniques, techniques, or a mapping from a name to any ``method(model, image, target=...)``
            that gives an attribution or maps (N, H, W). Settings go in with ``functools.partial``.
        masks: (N, H, W) of bool at the input's size: what the pictures show as the network gets them.
        target: None explains each image's top-1, and each sample's label.
        metrics: names of :data:`METRICS`. None takes the three localisation metrics where there are masks, deletion,
            insertion, average drop, increase in confidence, faithfulness correlation, sparseness and complexity.
        options: settings of metrics by name, for example ``{"deletion": {"steps": 20}}``. The pointing game of samples
            of ``shapes`` allows 3 pixels.
        seed: of the random map and of all metrics. The same seed gives the same table.
        workers, scheduler: who does the work, as for :func:`vizkit.explain`: each method on :data:`TOGETHER` pictures
            is a task. The table is the same.

    Returns:
        :class:`Ranking`, best method first.

    Raises:
        UnknownNameError for a technique or metric that does not exist; ImageError, SettingError, ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.evaluate.rank(model, vizkit.images.sample(), ["saliency"], metrics=["average_drop"])
        >>> sorted(found.methods)
        ['edge_map', 'random_map', 'saliency']
    """
    settings = {} if options is None else {key: dict(value) for key, value in options.items()}
    if isinstance(image, Samples):
        settings["pointing_game"] = {"tolerance": TOLERANCE, **settings.get("pointing_game", {})}
        masks = image.masks if masks is None else masks
        target = [int(label) for label in image.labels.ravel()] if target is None else target
        image, fit = list(image.images), "squash"
    job = Probe("rank", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    found = None if masks is None else as_masks(masks, np.empty((len(job), *job.size)))
    case = Case(model, job.batch, job.handed, found, seed, batch_size)
    names = _metrics(metrics, settings, found is not None)
    contenders = _methods(methods, seed, found is not None)
    per_image = np.empty((len(contenders), len(names), len(job)))
    tasks = list(_tasks(case, contenders))
    judge = partial(_judged, metrics=names, settings=settings, seed=seed, batch_size=batch_size)
    with crew(model, workers, scheduler) as team, steps_bar("evaluate", len(tasks)) as advance:
        for done, ((row, start), figures) in enumerate(team.run(judge, tasks)):
            per_image[row, :, start : start + figures.shape[1]] = figures
            advance(done + 1, list(contenders)[row])
    values = per_image.mean(axis=2)
    mean_rank = _mean_rank(values, names)
    order = np.argsort(mean_rank, kind="stable")
    asked = {
        "methods": list(contenders), "metrics": names, "options": settings,
        "target": targets.told(model, job.table, job.chosen), "seed": seed, "fit": fit,
        "input_range": job.batch.input_range,
    }  # fmt: skip
    made, ordered = provenance(model, "rank", asked, job.batch), tuple(list(contenders)[k] for k in order)
    return Ranking(values[order], made, ordered, tuple(names), per_image[order], mean_rank[order])


def _tasks(case: Case, contenders: Mapping[str, Method]) -> Iterator[tuple[tuple[int, int], tuple[Any, ...]]]:
    """Each method on some pictures, by the method's number and the first picture's. One that sees several pictures at
    once gets them all."""
    for row, method in enumerate(contenders.values()):
        size = len(case.batch) if hasattr(getattr(method, "func", method), "needs_pictures") else TOGETHER
        for start in range(0, len(case.batch), size):
            some = range(len(case.batch))[start : start + size]
            masks = None if case.masks is None else case.masks[some.start : some.stop]
            yield (row, start), (method, case.batch.part(some), case.wanted[some.start : some.stop], masks)


def _judged(
    models: Sequence[Model],
    task: tuple[Method, Batch, Sequence[Wanted], Array | None],
    *,
    metrics: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
    seed: int,
    batch_size: int | None,
) -> Array:
    """What the metrics say of one method's maps of some pictures, (metrics, n)."""
    method, batch, wanted, masks = task
    case = Case(models[0], batch, wanted, masks, seed, batch_size)
    maps = explain(method, case.model, batch, wanted)
    return np.array([METRICS[name].compute(case, maps, method, settings.get(name, {})) for name in metrics])


def _metrics(given: Sequence[str] | None, settings: Iterable[str], masks: bool) -> list[str]:
    for name in (*(given or ()), *settings):
        check_known("metric", name, METRICS)
    if given is None:
        return [name for name, metric in METRICS.items() if metric.default and (masks or not metric.masks)]
    for name in given:
        if METRICS[name].masks and not masks:
            raise SettingError(f"metrics: {name} needs masks of the objects; give masks=.")
    if not given:
        raise SettingError("metrics=[]: name at least one.")
    return list(given)


def _methods(given: Methods, seed: int, masks: bool) -> dict[str, Method]:
    """Methods by name, the controls last."""
    found: dict[str, Method] = dict(given) if isinstance(given, Mapping) else dict(map(_named, given))
    for name in CONTROLS:
        control = getattr(techniques, name)
        if masks or not hasattr(control, "needs_masks"):
            found.setdefault(name, partial(control, seed=seed) if "seed" in signature(control).parameters else control)
    return found


def _named(method: str | Method) -> tuple[str, Method]:
    if isinstance(method, str):
        check_known("technique", method, techniques.__all__)
        return method, getattr(techniques, method)
    name = getattr(method, "__name__", None)
    if name is None:
        raise SettingError(f"{method!r} has no name; give methods as a mapping from names.")
    return str(name), method


def places(column: Array, name: str) -> Array:
    """Ranks from 1, the best first, of one metric's values."""
    return ranks(-column if METRICS[name].higher else column)


def _mean_rank(values: Array, names: Sequence[str]) -> Array:
    """The mean place of each method over the metrics that judge; over all, when none does."""
    judging = [k for k, name in enumerate(names) if METRICS[name].judges] or list(range(len(names)))
    return np.asarray(np.mean([places(values[:, k], names[k]) for k in judging], axis=0))
