"""The demo's chapters: which technique runs on what, its picture, and a sentence for everybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import draw as plotting
from ... import results, techniques
from ...contract.backend import OUTPUT, Array, Model
from ...contract.errors import ShapeError
from ...draw import pages
from ...inputs import images
from ...support.columns import number, share
from ...techniques.dreams.class_pictures import DECAY, views
from ...techniques.dreams.objectives import unit
from ...techniques.dreams.parametrisations import Fourier
from ...techniques.dreams.regularisers import rms, total_variation
from ..page import Chapter, Table
from .run import Run
from .subjects import LATE, Dreams, View, shared_layers

PENALTY = 0.5
"""Weight of both penalties of a late unit's picture, in units of its activation."""


def predict(run: Run) -> Chapter:
    """What the network answers."""
    view = run.subject.pictures

    def one(model: Model) -> results.Result:
        batch = images.prepare(list(view.pictures), model.spec)
        logits = model.ops.numpy(model.forward(model.ops.asarray(batch.tensor))[OUTPUT]).astype(np.float64)
        if logits.ndim != 2:
            raise ShapeError(f"{model.name} gives an output of shape {logits.shape}; expected (N, classes).")
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        settings = {"input_range": "imagenet", "fit": "crop"}
        return results.Result(
            odds / odds.sum(axis=1, keepdims=True), results.provenance(model, "predict", settings, batch)
        )

    found = run.each("prediction", one)
    spec = run.models[0].spec
    shown = images.prepare(list(view.pictures), spec).pictures
    names = [str(result.provenance["backend"]) for result in found]
    best = [result.values.argmax(axis=1) for result in found]
    if view.truth:
        right = [sum(spec.label(int(b)) == t for b, t in zip(row, view.truth, strict=True)) for row in best]
        score = ", ".join(f"{r} of {len(shown)} in {n}" for r, n in zip(right, names, strict=True))
        text = (
            "The network looks at each picture and names the object in it, with a probability. Every picture holds one "
            f"object over clutter made to distract; the truth stands above it. Right answers: {score}."
        )
        rows = [
            (f"{i + 1}: {truth}", *(_answer(result.values[i], spec.label) for result in found))
            for i, truth in enumerate(view.truth)
        ]
        table = Table("Truth and answer", ("picture: truth", *names), rows)
        titles = [f"{i + 1}: {truth}" for i, truth in enumerate(view.truth)]
    else:
        text = "The network looks at the photo and names what it may show, most probable first."
        order = np.argsort(-found[0].values[0], kind="stable")[:5]
        rows = [(spec.label(int(c)), *(share(result.values[0, c]) for result in found)) for c in order]
        table, titles = Table("Most probable classes", ("class", *names), rows), [""]
    alt = (
        f"{len(shown)} pictures: {', '.join(titles)}." if view.truth else "The photo, cropped to what the network sees."
    )
    return run.chapter(
        "predict", "What does it see?", text, pages.pictures(shown, titles), alt, found,
        "probabilities", origin=view.origin, tables=[table], wide=len(shown) > 1,
    )  # fmt: skip


def _answer(odds: Array, label: Callable[[int], str]) -> str:
    best = int(odds.argmax())
    return f"{label(best)} {share(odds[best])}"


def saliency(run: Run) -> Chapter:
    """The gradient at the pixels."""
    text = (
        "Bright pixels are those where a small change moves the score of the answer most: this is where the network is "
        "looking, pixel by pixel."
    )
    return _maps(run, "saliency", "Which pixels matter?", text, techniques.saliency, run.subject.answers)


def gradcam(run: Run) -> Chapter:
    """Class-activation maps, for several classes of one picture."""
    masked = run.subject.classes.masks is not None
    what = "Each picture here holds two objects, and is" if masked else "The photo is"
    text = (
        f"{what} explained once for each class named above it: bright areas speak for that class. The map is coarse, "
        "since it is drawn from a late, small layer."
    )
    return _maps(run, "gradcam", "What speaks for which class?", text, techniques.gradcam, run.subject.classes)


def _maps(
    run: Run, key: str, title: str, text: str, technique: Callable[..., results.Attribution], view: View
) -> Chapter:
    targets: Any = None if None in view.targets else list(view.targets)
    found = run.each(key, lambda model: technique(model, list(view.pictures), target=targets))
    first = found[0]
    titles = [f"for {label.split(',')[0]}" for label in first.labels]
    rows = [(str(result.provenance["backend"]), result.values) for result in found]
    if view.masks is not None:
        text += " The white line is the true border of the object, which the network was never shown."
    figure = pages.maps(first.batch.pictures, titles, rows, view.masks)
    alt = (
        f"Pictures in the first row; below each its {key} map in {' and in '.join(name for name, _ in rows)}, "
        f"explained {', '.join(titles)}."
    )
    return run.chapter(key, title, text, figure, alt, found, "maps", origin=view.origin)


def filters(run: Run, layer: str, k: int) -> Chapter:
    """A convolution's weights."""
    found = run.each("filters", lambda model: techniques.filters(model, layer, limit=run.subject.channels))
    one = found[0]
    total, inputs, height, width = one.values.shape
    if one.channel == "colour":
        text = (
            f"The first layer sees {height} by {width} pixels through {total} small filters. Each is drawn as the "
            "patch of colours that excites it: edges at various angles, and colours against one another."
        )
    else:
        text = (
            f"Deeper filters read {inputs} channels, no longer colours, so each of the {total} is drawn by the "
            f"mean size of its weights at every one of its {height} by {width} places: bright places are read most."
        )
    alt = f"A grid of {min(total, one.limit)} filters of {height} by {width} for each backend."
    title = f"Filters of {'the first layer' if k == 0 else 'a deeper layer'}, {one.layer}"
    return run.chapter(
        f"filters-{k + 1}", title, text, pages.filters(found), alt, found,
        "weights", origin="none: weights alone",
    )  # fmt: skip


def feature_maps(run: Run, layer: str, k: int) -> Chapter:
    """One layer's channels."""
    view = run.subject.pictures
    found = run.each("feature maps", lambda model: techniques.feature_maps(model, view.pictures[0], layer))
    n, height, width = found[0].values.shape[1:]
    shown = min(n, run.subject.channels)
    depth = ("early: edges and colours", "halfway: textures and parts", "late: few and coarse, whole objects")[k]
    text = (
        f"Every channel of layer {layer} is a small picture of where it found what it looks for ({depth}). Shown: "
        f"{shown} of {n} channels, {height} by {width}, of the first picture; dark channels found nothing."
    )
    alt = f"A grid of {shown} feature maps of layer {layer} for each backend."
    return run.chapter(
        f"features-{k + 1}", f"Feature maps of {layer}", text, pages.feature_maps(found, shown), alt, found,
        "activations", origin=f"the first of {view.origin}",
    )  # fmt: skip


def statistics(run: Run) -> Chapter:
    """How active every layer is."""
    view = run.subject.pictures
    layers = shared_layers(run.models)
    found = run.each("statistics", lambda model: techniques.activation_statistics(model, list(view.pictures), layers))
    one = found[0]
    text = (
        "How much of the network is at work, layer by layer, over all the pictures: the share of activations that are "
        "exactly zero, of channels that are zero everywhere, and the mean and largest activation. Deeper is usually "
        "sparser."
    )
    head = ("layer", "zeros", "blank", "mean", "max")

    def rows(names: Sequence[str]) -> list[tuple[str, ...]]:
        chosen = [one.layers.index(name) for name in names if name in one.layers]
        return [
            (one.layers[i], share(z), share(b), number(m), number(h)) for i in chosen for z, b, m, h in [one.values[i]]
        ]

    three = run.subject.layers
    backend = one.provenance["backend"]
    tables = [
        Table(f"The three layers above, in {backend}", head, rows(three)),
        Table(f"All {len(one.layers)} layers, in {backend}", head, rows(one.layers), folded=True),
    ]
    alt = "Two plots over the layers by depth: shares of zeros and of blank channels; mean and largest activation."
    return run.chapter(
        "statistics", "How active are the layers?", text, plotting.activation_statistics(found), alt, found,
        "statistics", origin=view.origin, tables=tables,
    )  # fmt: skip


def dream(run: Run, plan: Dreams, k: int) -> Chapter:
    """What units respond to most."""

    def one(model: Model) -> Any:
        return techniques.dream(model, plan.layer, list(plan.units), seed=run.seed, **plan.settings)

    found = run.each("dream", one)
    layer = found[0].layer
    names = [f"unit {unit}" for unit in plan.units]
    reached = [result.activation for result in found]
    titles = [[f"{name}: {value:.3g}" for name, value in zip(names, one[-1], strict=True)] for one in reached]
    text = (
        f"The other way round: starting from noise, each picture was changed until it excited one unit of layer "
        f"{layer} as much as it could, which shows the pattern that the unit looks for. The units are those that the "
        "pictures above excite most. Above each: its name and the activation reached."
    )
    title = f"Dreams of units of {layer}"
    alt = f"Dreamt pictures for each backend: {', '.join(names)}."
    numbers = {"activation of every stage": reached, "pixels": [result.values for result in found]}
    figure = pages.dreams(found, titles)
    return run.chapter(f"dreams-{k + 1}", title, text, figure, alt, found, numbers, origin="noise")


def late(run: Run) -> Chapter:
    """What units of a late layer, each the most particular to a class, respond to most."""
    chosen, steps = run.subject.particular, run.subject.particular_steps
    units = [one.unit for one in chosen]
    names = [f"{one.label}: unit {one.unit}" for one in chosen]
    aim = unit(LATE, units) - PENALTY * rms() - PENALTY * total_variation()

    def made(model: Model) -> Any:
        shape = Fourier(model.spec.size, decay=DECAY)
        shown = views(model.spec.size)
        return techniques.render(
            model, aim, parametrisation=shape, transforms=shown, steps=steps, seed=run.seed, titles=names
        )

    found = run.each("late units", made)
    reached = [result.evidence.activation for result in found]
    text = (
        f"For each class, the unit of the late layer {LATE} that is most particular to it, and the picture, made from "
        "noise, that excites this unit most. The network was never shown these: forms and textures of its classes come "
        "out, repeated and exaggerated. Where no unit is particular to a class, its margin is near 1, and its picture "
        "shows what it shares with others. At each step the backends compute the same gradient to float32's rounding; "
        "hundreds of steps enlarge it, so two pictures of one unit differ in detail. Compare what they reach."
    )
    head = ("class", "unit", "margin", *(f"activation, {result.provenance['backend']}" for result in found))
    rows = [
        (one.label, str(one.unit), f"{one.margin:.2f}", *(number(row[k]) for row in reached))
        for k, one in enumerate(chosen)
    ]
    table = Table("How much more a unit responds to its class than to any other", head, rows, folded=True)
    figure = pages.dreams(found, [names] * len(found))
    alt = f"Pictures of late units, one for each class, for each backend: {', '.join(names)}."
    title = "Late units, one for each class"
    numbers = {"activation reached": reached}
    return run.chapter("late", title, text, figure, alt, found, numbers, origin="noise", tables=[table])
