"""Commands that draw: saliency, filters, feature maps; and predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from csv import DictWriter
from functools import partial
from json import dump
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer import Option

from .. import techniques
from ..contract.backend import Model
from ..contract.errors import SettingError
from ..inputs import images
from ..results.attribution import Attribution
from ..support.crew import crew
from ..support.files import replacing
from . import options, photos
from .options import (
    Call,
    Fit,
    InputRange,
    LayerName,
    NeuronName,
    Out,
    Photos,
    Scheduler,
    Seed,
    Targets,
    Workers,
    command,
)

PHOTOS = 32
"""Photos that are predicted at once."""


@command("vgg19")
def saliency(
    call: Call,
    photo: Photos = None,
    target: Targets = None,
    layer: LayerName = None,
    neuron: NeuronName = None,
    input_range: InputRange = None,
    mode: Annotated[str, Option(help="inference, or published: as the homework computed it.")] = "inference",
    fit: Fit = None,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Which pixels move a class's score: the photo, its map, and both in one, a row for each photo and backend."""
    from .. import draw as plotting

    work = photos.Work(photo, target, out, f"saliency-{call.name}")
    work.write(call.load(), partial(_maps, call, techniques.saliency), plotting.attributions)


@command("vgg19")
def gradcam(
    call: Call,
    photo: Photos = None,
    target: Targets = None,
    layer: LayerName = None,
    on: Annotated[str | None, Option(help="The overlay alone: on the network's input, or on the original.")] = None,
    input_range: InputRange = None,
    fit: Fit = None,
    out: Out = None,
) -> None:
    """Where in the photo the evidence for a class is: Grad-CAM, beside the photo and laid over it."""
    from .. import draw as plotting

    if on is not None and out is not None and out.suffix != ".png":
        raise SettingError(f"--on {on} --out {out}: an overlay is a picture of its own; give a file that ends in .png.")
    work = photos.Work(photo, target, out, f"gradcam-{call.name}") if on is None else None
    loaded, run = call.load(), partial(_maps, call, techniques.gradcam)
    if work is not None:
        work.write(loaded, run, plotting.attributions)
        return
    results = run(loaded, photos.given(photo), photos.target(target))
    path = out or Path(f"gradcam-{call.name}.png")
    for result in results:
        one = options.apart(path, result.provenance["backend"], len(results))
        for written in result.overlay(on=on).save(one):
            typer.echo(f"wrote {written}")
    options.differences(results)


def _maps(
    call: Call, technique: Callable[..., Attribution], loaded: Sequence[Model], some: list[Any], aims: Any
) -> list[Any]:
    """The maps of some photos in each backend, and what they are of, said."""
    results = [technique(one, some, **call.settings(technique) | {"target": aims}) for one in loaded]
    for result in results:
        where = f", at {result.layer}" if result.layer else ""
        for name, label in zip(result.batch.names, result.labels, strict=True):
            typer.echo(f"{result.provenance['backend']}: {name}: {label}{where}")
    return results


@command("vgg19")
def filters(
    call: Call,
    layer: LayerName = None,
    channel: Annotated[str | None, Option(help="colour, mean, or an input channel.")] = None,
    limit: Annotated[int, Option(help="Filters shown at most.")] = 64,
    text: Annotated[
        bool, Option("--text", help="Print the architecture and weight[UNIT] of every convolution.")
    ] = False,
    unit: Annotated[int, Option("--unit", "-u", help="The filter that --text prints.")] = 0,
    out: Out = None,
) -> None:
    """A layer's weights as one grid of pictures; with --text, as numbers."""
    from .. import draw as plotting

    loaded = call.load()
    if text:
        for one in loaded:
            typer.echo(one.architecture())
            for name in [layer] if layer else one.filter_layers():
                typer.echo(techniques.filters(one, name).text(unit))
        return
    results = [techniques.filters(one, layer, **call.settings(techniques.filters)) for one in loaded]
    options.write(results, plotting.filters, out, f"filters-{call.name}.png")


@command("vgg19")
def features(
    call: Call,
    photo: Photos = None,
    layer: LayerName = None,
    noise: Annotated[
        bool, Option("--noise", help="The homework's picture of noise, 150 to 180, instead of a photo.")
    ] = False,
    statistics: Annotated[
        bool, Option("--statistics", help="Zeros, blank channels, mean and maximum of every layer.")
    ] = False,
    scale: Annotated[str, Option(help="each: every map on its own scale; common: one for all.")] = "each",
    input_range: InputRange = None,
    fit: Fit = None,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """What a layer makes of a photo: all its channels in one figure; with --statistics, how active every layer is."""
    from .. import draw as plotting

    if noise and photo:
        raise SettingError(f"--noise and the photo {photo[0]!r} exclude each other; give one of them.")
    if (statistics or noise) and out is not None and not out.suffix:
        raise SettingError(f"--out {out}: this is one figure of all photos; give a file, such as {out}.png.")
    work = photos.Work(photo, None, out, f"features-{call.name}")
    loaded = call.load()
    settings = {"fit": "squash" if noise else "crop"} | call.settings(techniques.feature_maps)

    def source(one: Model) -> list[Any]:
        return [images.noise(size=min(one.spec.size), seed=seed)] if noise else work.photos

    if statistics:
        chosen = [layer] if layer else None
        found = [techniques.activation_statistics(one, source(one), chosen, **settings) for one in loaded]
        for result in found:
            typer.echo(result.table())
        options.write(found, plotting.activation_statistics, out, f"statistics-{call.name}.png")
        return

    def run(models: Sequence[Model], some: list[Any], _: Any) -> list[Any]:
        return [techniques.feature_maps(one, source(one) if noise else some, layer, **settings) for one in models]

    work.write(loaded, run, lambda all_of_them: plotting.feature_maps(all_of_them, scale))


@command("vgg19")
def predict(
    call: Call,
    photo: Photos = None,
    top: Annotated[int, Option(help="Classes shown.")] = 5,
    fit: Fit = None,
    csv: Annotated[Path | None, Option(help="Write a row for each photo and class.")] = None,
    json_file: Annotated[Path | None, Option("--json", help="The same rows as JSON.")] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
) -> None:
    """The most probable classes of each photo."""
    listed = photos.given(photo)
    table: list[dict[str, Any]] = []
    loaded = call.load()
    starts = [(which, start) for which in range(len(loaded)) for start in range(0, len(listed), PHOTOS)]
    tasks = [((which, start), (which, listed[start : start + PHOTOS])) for which, start in starts]
    with crew(loaded, workers, scheduler) as team:
        for (which, start), found in team.ordered(partial(_predicted, top=top, fit=fit or "crop"), tasks):
            one = loaded[which]
            for name, rows in zip(listed[start : start + PHOTOS], found, strict=True):
                typer.echo(f"{one.backend}: {photos.place(name).name}")
                for place, row in enumerate(rows):
                    typer.echo(f"  {row.probability:8.4f}  {row.index:4d}  {row.label}")
                    told = {
                        "backend": one.backend,
                        "model": one.name,
                        "photo": str(photos.place(name)),
                        "place": place + 1,
                    }
                    numbers = {"probability": float(row.probability), "logit": float(row.logit)}
                    table.append(told | {"index": row.index, "label": row.label} | numbers)
    if csv is not None:
        with _written(csv) as stream:
            writer = DictWriter(stream, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    if json_file is not None:
        with _written(json_file) as stream:
            dump(table, stream, indent=1, ensure_ascii=False)


def _predicted(models: Sequence[Model], task: tuple[int, list[Any]], *, top: int, fit: str) -> list[Any]:
    which, photos = task
    found: list[Any] = models[which].predict(photos, top, fit=fit)
    return found


@contextmanager
def _written(target: Path) -> Iterator[TextIO]:
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        yield stream
    typer.echo(f"wrote {target}")
