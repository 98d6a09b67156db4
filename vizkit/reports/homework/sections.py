"""The homework's sections: what each computes, its pictures, and its sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ... import results, techniques
from ...contract.backend import Array, Model
from ...draw import pages
from ...inputs import images
from ...results.attribution import Attribution
from ...results.features import FeatureMaps
from ..page import Chapter, Picture, Table
from .run import CORRECT, FIT, PUBLISHED, Run

Section = tuple[str, str, "Callable[[Run], Chapter]"]
"""Key, title, and what makes it."""
GOLDEN = (
    (-0.05347426, -0.04925704, -0.06794177),
    (0.01531445, 0.04506842, 0.0021444),
    (0.03622622, 0.01999945, 0.01986402),
)
"""The first filter's first channel in the published notebook's printout of VGG19."""


def sections(run: Run) -> list[Section]:
    """Every section: those of the notebook in its order, then the extensions."""
    main, second, extra = (run.models[role] for role in ("vgg19", "resnet152", "googlenet"))
    both: dict[str, Any] = {"ways": run.readings()}

    def one(key: str, make: Callable[..., Chapter], words: str, model: Model = main, **how: Any) -> Section:
        count = min(pages.SHOWN, len(model.weight(model.filter_layers()[0])))
        title = run.say(f"{words}.title", network=model.name, count=count)
        return key, title, lambda run: make(run, key, title, model, **how)

    return [
        one("photo", photo, "photo"),
        one("saliency-1", saliency, "saliency", **both),
        one("saliency-2", saliency, "saliency", second, **both),
        one("architecture", architecture, "architecture"),
        one("weights", weights, "weights"),
        one("last-filter", last_filter, "last-filter"),
        one("first-filters", first_filters, "first-filters"),
        one("features", feature_maps, "features", **both),
        one("noise", feature_maps, "noise", **both, noise=True),
        one("more-saliency", saliency, "saliency", extra),
        one("more-filters", first_filters, "first-filters", extra),
        one("more-features", feature_maps, "features", extra),
        one("dream", dream, "dream", extra),
    ]


def photo(run: Run, key: str, title: str, model: Model) -> Chapter:
    """The photo as it is, and as the networks see it."""
    whole = np.asarray(images.read(run.photo))
    batch = images.prepare(run.photo, model.spec, fit=FIT)
    height, width = whole.shape[:2]
    text = run.say("photo.text", width=width, height=height, side=model.spec.size[0])
    seen = batch.pictures[0]
    figure = pages.row_of([whole, seen], [f"{one.shape[1]} × {one.shape[0]}" for one in (whole, seen)], 3.4, 3.4)
    made = results.provenance(model, "photo", {"fit": FIT}, batch)
    shown = run.picture(key, figure, made, run.say("photo.alt", photo=run.photo_name), wide=False)
    return Chapter(key, title, text, [shown])


def saliency(run: Run, key: str, title: str, model: Model, ways: tuple[str, ...] = (CORRECT,)) -> Chapter:
    """Three panels; where both ways are shown, why they differ."""
    found: dict[str, Attribution] = {}
    for way in ways:
        mode = "published" if way == PUBLISHED else "inference"
        found[way] = techniques.saliency(model, run.photo, fit=FIT, mode=mode, seed=run.seed)
    best = model.predict(run.photo, 1, fit=FIT)[0]
    text = run.say("saliency.text", network=model.name, answer=best.label, probability=f"{best.probability:.1%}")
    alt = run.say("saliency.alt", photo=run.photo_name, network=model.name)
    pictures = [
        run.picture(key, pages.three(found[way]), found[way].provenance, alt, way if len(ways) > 1 else "")
        for way in ways
    ]
    if len(ways) == 1:
        return Chapter(key, title, text, pictures)
    classes = model.output_shape[1]
    why = run.say(
        "saliency.why", effect=run.say(f"effect.{effect(model)}"), classes=classes, correlation=alike(found)
    )  # fmt: skip
    values = {"answer": best.label, "classes": classes}
    rows = [
        (run.say(f"table.{step}"), *(run.say(f"table.{step}.{way}", **values) for way in ways))
        for step in ("mode", "score", "input")
    ]
    seeds = {CORRECT: run.say("table.seed.correct"), PUBLISHED: str(run.seed)}
    rows.append((run.say("table.seed"), *(seeds[way] for way in ways)))
    head = (run.say("table.step"), *(run.say(way) for way in ways))
    return Chapter(key, title, f"{text}\n\n{why}", pictures, [Table(run.say("saliency.table"), head, rows)])


def effect(model: Model) -> str:
    """What training mode changes in this network: "dropout", "norm", "both" or "none"."""
    norm = any(name.endswith(".running_mean") for name in model.parameter_shapes())
    dropout = any(layer.kind.startswith("Dropout") for layer in model.layers.values())
    return "both" if norm and dropout else "norm" if norm else "dropout" if dropout else "none"


def alike(found: Mapping[str, results.Result]) -> str:
    """Pearson correlation of each map with its counterpart, the mean over maps that are not constant, two digits; "-"
    where there are none."""
    a, b = (one.values.astype(np.float64).reshape(-1, *one.values.shape[-2:]) for one in found.values())
    pairs = [(x.ravel(), y.ravel()) for x, y in zip(a, b, strict=True) if x.std() > 0 and y.std() > 0]
    return f"{np.mean([np.corrcoef(x, y)[0, 1] for x, y in pairs]):.2f}" if pairs else "-"


def architecture(run: Run, key: str, title: str, model: Model) -> Chapter:
    """The network as its framework prints it."""
    return Chapter(key, title, run.say("architecture.text", backend=model.backend), pre=model.architecture())


def printed(array: Array) -> str:
    """An array as the notebook prints it: eight digits, long ones abbreviated."""
    with np.printoptions(threshold=1000, edgeitems=3, precision=8, suppress=False, linewidth=100, floatmode="maxprec"):
        return str(array)


def weights(run: Run, key: str, title: str, model: Model) -> Chapter:
    """``weight[0]`` of each convolution, as numbers; whether the first is the published one."""
    layers = model.filter_layers()
    filters = [(layer, model.weight(layer)[0]) for layer in layers]
    parts = [f"{layer}.weight[0]  {' x '.join(map(str, one.shape))}\n{printed(one)}" for layer, one in filters]
    first = filters[0][1][0]
    same = first.shape == (3, 3) and np.allclose(first, GOLDEN, rtol=0, atol=5e-9)
    source = model.weights.source.replace("\\", "/").rsplit("/", 1)[-1]
    golden = "golden.same" if same else "golden.other"
    told = run.say(golden, first=f"{first.flat[0]:.8f}", source=source)
    text = run.say("weights.text", count=len(layers), network=model.name, golden=told)
    return Chapter(key, title, text, pre="\n\n".join(parts))


def last_filter(run: Run, key: str, title: str, model: Model) -> Chapter:
    """The first filter of the last convolution, all its channels."""
    result = techniques.filters(model, model.filter_layers()[-1], channel=0, limit=1)
    one = result.values[0]
    channels, height, width = one.shape
    high = f"{np.abs(one).max():.3g}"
    text = run.say("last-filter.text", layer=result.layer, channels=channels, height=height, width=width, high=high)
    alt = run.say("last-filter.alt", channels=channels, layer=result.layer)
    made = {**result.provenance, "settings": {"layer": result.layer, "unit": 0}}
    figure = pages.one_filter(one, f"{result.layer}.weight[0]: {channels} × {height} × {width}")
    return Chapter(key, title, text, [run.picture(key, figure, made, alt)], pre=printed(one))


def first_filters(run: Run, key: str, title: str, model: Model) -> Chapter:
    """The first convolution's weights, as colours and as numbers."""
    result = techniques.filters(model, limit=len(model.weight(model.filter_layers()[0])))
    count, _, height, width = result.values.shape
    sizes = {"count": count, "height": height, "width": width}
    text = run.say("first-filters.text", layer=result.layer, **sizes)
    alt = run.say("first-filters.alt", **sizes)
    shown = run.picture(key, pages.first_filters(result), result.provenance, alt)
    return Chapter(key, title, text, [shown], pre=printed(result.values))


def feature_maps(
    run: Run, key: str, title: str, model: Model, ways: tuple[str, ...] = (CORRECT,), noise: bool = False
) -> Chapter:
    """The first convolution's maps of the photo, or of the noise picture."""
    image = images.noise(size=min(model.spec.size), seed=run.seed) if noise else run.photo
    found: dict[str, FeatureMaps] = {}
    pictures: list[Picture] = []
    for way in ways:
        input_range = "unit" if way == PUBLISHED else "imagenet"
        result = found[way] = techniques.feature_maps(model, image, fit=FIT, input_range=input_range)
        total = result.values.shape[1]
        words = {"count": min(pages.SHOWN, total), "layer": result.layer}
        alt = run.say("noise.alt" if noise else "features.alt", photo=run.photo_name, network=model.name, **words)
        made = result.provenance
        if noise:
            made = {**made, "settings": {**made["settings"], "noise": [150, 180], "seed": run.seed}}
        shown = way if len(ways) > 1 else ""
        pictures.append(run.picture(key, pages.first_maps(result), made, alt, shown))
    text = run.say("noise.text" if noise else "features.text", total=total, **words)
    if len(ways) > 1:
        text += "\n\n" + run.say("features.why", correlation=alike(found))
    return Chapter(key, title, text, pictures)


def dream(run: Run, key: str, title: str, model: Model) -> Chapter:
    """The published dream recipe, with the network of the extensions."""
    result = techniques.dream(model, seed=run.seed, **run.dream)
    made = result.provenance["settings"]
    words = {"count": len(result.strip), "first": result.strip[0].size, "last": result.strip[-1].size}
    text = run.say(
        "dream.text", unit=result.units[0], layer=result.layer, stages=made["stages"], steps=made["steps"], **words
    )  # fmt: skip
    alt = run.say("dream.alt", **words)
    return Chapter(key, title, text, [run.picture(key, pages.strip(result), result.provenance, alt)])
