"""Commands that draw: saliency, filters, feature maps, dreams; and predictions."""

from __future__ import annotations

from csv import DictWriter
from json import dump
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from ..contract.errors import SettingError
from ..support.files import replacing
from . import options
from .app import app
from .options import (
    BackendNames,
    Device,
    Dtype,
    Fit,
    InputRange,
    LayerName,
    ModelName,
    Out,
    Photos,
    Seed,
    Targets,
    Threads,
    WeightsName,
)
from .rendered import MOVING, PUBLISHED, PUBLISHED_ONLY, RECIPES, RENDERED_ONLY, Images, Rendered, was_given

if TYPE_CHECKING:
    from ..contract.backend import Model

PHOTOS = 32
"""Photos that are predicted at once."""


@app.command()
def saliency(
    photo: Photos = None,
    model: ModelName = "vgg19",
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    target: Targets = None,
    input_range: InputRange = None,
    mode: Annotated[
        str, typer.Option("--mode", help="inference, or published: as the homework computed it.")
    ] = "inference",
    fit: Fit = None,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: Out = None,
) -> None:
    """Which pixels move a class's score: the photo, its map, and both in one, a row for each photo and backend."""
    from .. import draw as plotting
    from ..techniques import saliency as technique

    work = options.Work(photo, target, out, f"saliency-{model}")
    loaded = options.load(model, backend, weights, device, dtype, threads)

    def run(some: list[Any], aims: Any) -> list[Any]:
        settings: dict[str, Any] = {"input_range": input_range, "mode": mode, "fit": fit, "seed": seed}
        results = [technique(one, some, target=aims, **settings) for one in loaded]
        for result in results:
            for name, label in zip(result.batch.names, result.labels, strict=True):
                typer.echo(f"{result.provenance['backend']}: {name}: {label}")
        return results

    work.write(run, plotting.attributions)


@app.command()
def gradcam(
    photo: Photos = None,
    model: ModelName = "vgg19",
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    target: Targets = None,
    layer: LayerName = None,
    on: Annotated[
        str | None,
        typer.Option("--on", help="The overlay alone: on the network's input, or on the original."),
    ] = None,
    input_range: InputRange = None,
    fit: Fit = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: Out = None,
) -> None:
    """Where in the photo the evidence for a class is: Grad-CAM, beside the photo and laid over it."""
    from .. import draw as plotting
    from ..techniques import gradcam as technique

    if on is not None and out is not None and out.suffix != ".png":
        raise SettingError(f"--on {on} --out {out}: an overlay is a picture of its own; give a file that ends in .png.")
    work = options.Work(photo, target, out, f"gradcam-{model}") if on is None else None
    loaded = options.load(model, backend, weights, device, dtype, threads)

    def run(some: list[Any], aims: Any) -> list[Any]:
        settings: dict[str, Any] = {"layer": layer, "input_range": input_range or "imagenet", "fit": fit or "crop"}
        results = [technique(one, some, target=aims, **settings) for one in loaded]
        for result in results:
            for name, label in zip(result.batch.names, result.labels, strict=True):
                typer.echo(f"{result.provenance['backend']}: {name}: {label}, at {result.layer}")
        return results

    if work is not None:
        work.write(run, plotting.attributions)
        return
    results = run(options.photos(photo), options.target(target))
    path = out or Path(f"gradcam-{model}.png")
    for result in results:
        one = path if len(results) == 1 else path.with_stem(f"{path.stem}-{result.provenance['backend']}")
        for written in result.overlay(on=on).save(one):
            typer.echo(f"wrote {written}")
    options.differences(results)


@app.command()
def filters(
    model: ModelName = "vgg19",
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    layer: LayerName = None,
    channel: Annotated[str | None, typer.Option("--channel", help="colour, mean, or an input channel.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Filters shown at most.")] = 64,
    text: Annotated[
        bool, typer.Option("--text", help="Print the architecture and weight[UNIT] of every convolution.")
    ] = False,
    unit: Annotated[int, typer.Option("--unit", "-u", help="The filter that --text prints.")] = 0,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: Out = None,
) -> None:
    """A layer's weights as one grid of pictures; with --text, as numbers."""
    from .. import draw as plotting
    from ..techniques import filters as technique

    loaded = options.load(model, backend, weights, device, dtype, threads)
    if text:
        for one in loaded:
            typer.echo(one.architecture())
            for name in [layer] if layer else one.filter_layers():
                typer.echo(technique(one, name).text(unit))
        return
    results = [technique(one, layer, channel=channel, limit=limit) for one in loaded]
    options.write(results, plotting.filters, out, f"filters-{model}.png")


@app.command()
def features(
    photo: Photos = None,
    model: ModelName = "vgg19",
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    layer: LayerName = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="The homework's picture of noise, 150 to 180, instead of a photo.")
    ] = False,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Zeros, blank channels, mean and maximum of every layer.")
    ] = False,
    scale: Annotated[
        str, typer.Option("--scale", help="each: every map on its own scale; common: one for all.")
    ] = "each",
    input_range: InputRange = None,
    fit: Fit = None,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: Out = None,
) -> None:
    """What a layer makes of a photo: all its channels in one figure; with --statistics, how active every layer is."""
    from .. import draw as plotting
    from .. import techniques
    from ..inputs import images

    if noise and photo:
        raise SettingError(f"--noise and the photo {photo[0]!r} exclude each other; give one of them.")
    if (statistics or noise) and out is not None and not out.suffix:
        raise SettingError(f"--out {out}: this is one figure of all photos; give a file, such as {out}.png.")
    work = options.Work(photo, None, out, f"features-{model}")
    loaded = options.load(model, backend, weights, device, dtype, threads)
    reading = input_range or "imagenet"
    fitting = fit or ("squash" if noise else "crop")

    def source(one: Model) -> list[Any]:
        return [images.noise(size=min(one.spec.size), seed=seed)] if noise else work.photos

    if statistics:
        chosen = [layer] if layer else None
        found = [
            techniques.activation_statistics(one, source(one), chosen, input_range=reading, fit=fitting)
            for one in loaded
        ]
        for result in found:
            typer.echo(result.table())
        options.write(found, plotting.activation_statistics, out, f"statistics-{model}.png")
        return

    def run(some: list[Any], _: Any) -> list[Any]:
        return [
            techniques.feature_maps(one, source(one) if noise else some, layer, input_range=reading, fit=fitting)
            for one in loaded
        ]

    work.write(run, lambda all_of_them: plotting.feature_maps(all_of_them, scale))


@app.command()
def dream(
    context: typer.Context,
    model: ModelName = "googlenet",
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    layer: LayerName = None,
    unit: Annotated[
        list[int] | None, typer.Option("--unit", "-u", help="A channel; more of them run as one batch.")
    ] = None,
    stages: Annotated[int, typer.Option("--stages", help="Published: sizes from first to last.")] = 46,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Adam steps; 512, for a class 256, published 20 a stage.")
    ] = None,
    size: Annotated[int | None, typer.Option("--size", help="Side in pixels; 128, published first 28.")] = None,
    scale: Annotated[float, typer.Option("--scale", help="Published: growth between stages.")] = 1.05,
    lr: Annotated[float | None, typer.Option("--lr", help="Adam's learning rate; 0.05, published 0.4.")] = None,
    activation_weight: Annotated[float, typer.Option("--activation-weight", help="Published: the unit's rms.")] = 0.5,
    pixel_weight: Annotated[float, typer.Option("--pixel-weight", help="Published: of the pixels' rms.")] = 1.0,
    gradient_weight: Annotated[float, typer.Option("--gradient-weight", help="Of the derivatives' rms.")] = 1.0,
    beta: Annotated[float, typer.Option("--beta", help="Published: exponent of the derivatives.")] = 1.0,
    gradient_filter: Annotated[str, typer.Option("--gradient-filter", help="scharr, sobel or 5x5.")] = "scharr",
    target: Targets = None,
    recipe: Annotated[
        str, typer.Option("--recipe", help="Rendered as fourier, phase, laplacian or pixels; or the published one.")
    ] = RECIPES[0],
    tv_weight: Annotated[
        float | None, typer.Option("--tv-weight", help="Of the total variation, rendered; 20 for a class, else 0.")
    ] = None,
    images: Images = None,
    every: Annotated[int | None, typer.Option("--every", help="Steps between frames, for a .gif or .mp4.")] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="An .npz from which to go on.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: Out = None,
) -> None:
    """The picture that a unit, or with --target a class, responds to most.

    It is rendered from Fourier coefficients; --recipe published grows it from noise as the homework does.
    """
    from .. import draw as plotting
    from ..inputs import images as pixels
    from ..results import animation
    from ..techniques import dream as technique

    told: dict[str, Any] = {
        name: value for name, value in {"steps": steps, "lr": lr, "size": size}.items() if value is not None
    }
    own = PUBLISHED_ONLY if recipe != PUBLISHED else RENDERED_ONLY
    foreign = [name for name in own if was_given(context, name)]
    if foreign:
        others = f"--recipe {PUBLISHED}" if recipe != PUBLISHED else f"--recipe {' or '.join(RECIPES)}"
        named = " and ".join("--" + name.replace("_", "-") for name in foreign)
        raise SettingError(f"{named} belongs to {others}; this is --recipe {recipe}.")
    if recipe != PUBLISHED:
        rendering = Rendered(recipe, layer, unit, target, tv_weight, images, every, checkpoint, seed, told)
        rendering.check(out, backend)
        rendering.write(options.load(model, backend, weights, device, dtype, threads), out, model)
        return
    moving = out is not None and out.suffix in MOVING
    if moving and backend is not None and len(set(backend)) > 1:
        raise SettingError(f"--out {out}: a film is of one backend; give --backend once.")
    frames: list[Any] = []
    loaded = options.load(model, backend, weights, device, dtype, threads)
    results = [
        technique(
            one,
            layer,
            unit or None,
            stages=stages,
            scale=scale,
            activation_weight=activation_weight,
            pixel_weight=pixel_weight,
            gradient_weight=gradient_weight,
            beta=beta,
            gradient_filter=gradient_filter,
            seed=seed,
            on_stage=(lambda stage: frames.append(pixels.picture(stage.pictures))) if moving else None,
            **told,
        )
        for one in loaded
    ]
    for result in results:
        for one_unit, reached in zip(result.units, result.activation[-1], strict=True):
            name = result.provenance["backend"]
            typer.echo(f"{name}: {result.layer} unit {one_unit}: activation {reached:.4g} at {result.sizes[-1]} px")
    if moving and out is not None:
        typer.echo(f"wrote {animation.write(frames, out, results[0].provenance)}")
        return
    options.write(results, plotting.dream, out, f"dream-{model}.png")


@app.command()
def predict(
    photo: Photos = None,
    model: ModelName = "vgg19",
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    top: Annotated[int, typer.Option("--top", help="Classes shown.")] = 5,
    fit: Fit = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write a row for each photo and class.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="The same rows as JSON.")] = None,
) -> None:
    """The most probable classes of each photo."""
    photos = options.photos(photo)
    table: list[dict[str, Any]] = []
    for one in options.load(model, backend, weights, device, dtype, threads):
        for start in range(0, len(photos), PHOTOS):
            part = photos[start : start + PHOTOS]
            for name, rows in zip(part, one.predict(part, top, fit=fit or "crop"), strict=True):
                typer.echo(f"{one.backend}: {Path(name).name}")
                for place, found in enumerate(rows):
                    typer.echo(f"  {found.probability:8.4f}  {found.index:4d}  {found.label}")
                    told = {"backend": one.backend, "model": one.name, "photo": str(name), "place": place + 1}
                    numbers = {"probability": float(found.probability), "logit": float(found.logit)}
                    table.append(told | {"index": found.index, "label": found.label} | numbers)
    for target, write in ((csv, _csv), (json_file, _json)):
        if target is not None:
            with replacing(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
                write(table, stream)
            typer.echo(f"wrote {target}")


def _csv(table: list[dict[str, Any]], stream: TextIO) -> None:
    writer = DictWriter(stream, list(table[0]))
    writer.writeheader()
    writer.writerows(table)


def _json(table: list[dict[str, Any]], stream: TextIO) -> None:
    dump(table, stream, indent=1, ensure_ascii=False)
