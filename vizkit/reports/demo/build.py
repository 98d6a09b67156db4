"""Loading the networks, running the chapters, and writing the folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ... import results
from ...contract.backend import Model
from ...contract.errors import VizkitError
from ...inputs import images
from ...support.columns import deviation
from ...support.progress import steps_bar
from ...zoo import loading as api
from ..page import Chapter, Table, backends, loading, render
from ..page.folder import check, write
from . import chapters
from .run import GENERATOR, Run
from .subjects import SHAPES, Scale, Subject, of_photo, of_shapes

FOLDER = "vizkit-demo"
PHOTO_MODEL = "vgg19"
AGREEMENT = (
    "The same weights computed by different frameworks should give the same numbers. Zero means equal; about 1e-06 is "
    "the rounding of 32-bit arithmetic. A dream takes many steps, each of which magnifies that rounding, so its pixels "
    "may part while its activation stays close."
)


def make(
    photo: str | os.PathLike[str] | None = None,
    *,
    model: str | None = None,
    backend: Sequence[str] | None = None,
    weights: str = "imagenet",
    out: str | os.PathLike[str] = FOLDER,
    seed: int = 0,
    scale: Scale | None = None,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Run every chapter in every backend and write the folder ``out``: PNGs and a self-contained ``index.html``.

    Args:
        photo: an image file; None shows samples of the ``shapes`` data set, or the bundled photo for another ``model``.
        model: a name of :func:`vizkit.models`; None is "shapes", or "vgg19" for a photo.
        backend: names of backends, the first being what the others are compared with; None takes every installed one.
        weights: as :func:`vizkit.load` has them; the ``shapes`` network brings its own.
        out: a folder that does not exist, is empty, or holds an earlier page of the demo and nothing else.
        seed: of the samples and of the dreams' noise.
        scale: how much to do; None is the full page.
        tell: called with messages for the user.

    Returns:
        The path of ``index.html``, which is written last.

    Raises:
        SettingError for a folder with other files; ImageError, WeightsError and the like when nothing can be shown. A
        technique that fails is reported in its place on the page.
    """
    folder = Path(out)
    earlier = check(folder, GENERATOR)
    name = model or (SHAPES if photo is None else PHOTO_MODEL)
    samples = photo is None and name == SHAPES
    if not samples:
        photo = images.sample() if photo is None else photo
        images.read(photo)
    models, notes = load(name, backend, weights)
    for note in notes:
        (tell or str)(note)
    scale = scale or Scale()
    subject = of_shapes(models, seed, scale) if samples else of_photo(models, photo, scale)
    parts = contents(subject)
    with steps_bar("demo", len(parts)) as advance:
        done: list[Chapter] = []
        run = Run(models, subject, seed, lambda note: advance(len(done), note))
        for key, title, one in parts:
            done.append(run.finish(key, title, one))
            advance(len(done), "")
    shown = None if samples else Path(str(photo)).name
    return write(folder, earlier, done, page(models, done, notes, shown, seed))


def contents(subject: Subject) -> list[tuple[str, str, Callable[[Run], Chapter]]]:
    """Key, short title and maker of every chapter, in the order of the page."""
    return [
        ("predict", "Prediction", chapters.predict),
        ("saliency", "Saliency", chapters.saliency),
        ("gradcam", "Grad-CAM", chapters.gradcam),
        *(
            (f"filters-{k + 1}", f"Filters of {layer}", partial(chapters.filters, layer=layer, k=k))
            for k, layer in enumerate(subject.filters)
        ),
        *(
            (f"features-{k + 1}", f"Feature maps of {layer}", partial(chapters.feature_maps, layer=layer, k=k))
            for k, layer in enumerate(subject.layers)
        ),
        ("statistics", "Statistics", chapters.statistics),
        *(
            (f"dreams-{k + 1}", f"Dreams of {plan.layer}", partial(chapters.dream, plan=plan, k=k))
            for k, plan in enumerate(subject.dreams)
        ),
        *([("late", "Late units", chapters.late)] if subject.particular else []),
    ]


def load(name: str, backend: Sequence[str] | None, weights: str) -> tuple[list[Model], list[str]]:
    """The network in each backend, PyTorch first, and what is to be said about it. A backend that the user named must
    load; of those that nobody named, one must."""
    named = list(dict.fromkeys(backend)) if backend else None
    installed = sorted((found.name for found in api.backends() if found.installed), reverse=True)
    wanted: list[str | None] = [*(named or installed)] or [None]
    models: list[Model] = []
    notes: list[str] = []
    failed: VizkitError | None = None
    for one in wanted:
        try:
            models.append(api.load(name, backend=one, weights=weights))
        except VizkitError as error:
            if named:
                raise
            failed = failed or error
            notes.append(f"{one} takes no part: {error}")
        else:
            if models[-1].weights.note:
                notes.append(f"{one}: {models[-1].weights.note}")
    if not models and failed is not None:
        raise failed
    return models, notes


def page(models: Sequence[Model], done: Sequence[Chapter], notes: Sequence[str], photo: str | None, seed: int) -> str:
    """The page's text. It names no date and no folder, so that the same run gives the same bytes."""
    first = models[0]
    names = " and ".join(model.backend for model in models)
    made = [results.provenance(model, "demo", {}) for model in models]
    versions = {name: version for one in made for name, version in one["versions"].items()}
    shown = f"the photo {photo}" if photo else "pictures of shapes drawn by a program, so that the truth is known"
    lead = (
        f"The network {first.name}, computed by {names}, looks at {shown}. What it sees, why, and what it dreams of. "
        f"To look into it yourself, live: vizkit explore {first.name}."
    )
    facts = [
        ("network", f"{first.name}, input {first.spec.size[0]} by {first.spec.size[1]} pixels"),
        backends(models),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("weights", Path(first.weights.source).name),
        *((f"weights’ SHA-256, {model.backend}", model.sha256()) for model in models),
        ("seed", str(seed)),
        *(("note", note) for note in notes),
    ]
    given = ["vizkit demo", *([photo] if photo else []), f"--model {first.name}"]
    command = " ".join([*given, *loading(models), f"--seed {seed}"])
    return render(f"vizkit demo: {first.name}", lead, facts, [*done, agreement(done)], command, generator=GENERATOR)


def agreement(done: Sequence[Chapter]) -> Chapter:
    """The last chapter: every difference between the backends in one table."""
    head = ("technique", "numbers", "backends", "relative L2", "largest, of the maximum")
    rows = [
        (one.title, found.what, found.against, deviation(found.l2), deviation(found.largest))
        for one in done
        for found in one.differences
    ]
    text = AGREEMENT if rows else "Only one backend took part, so there is nothing to compare."
    tables = [Table("Differences between the backends", head, rows)] if rows else []
    return Chapter("agreement", "Do the backends agree?", text, tables=tables)
