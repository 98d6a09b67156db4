"""Commands that draw: saliency, filters, feature maps, dreams; and predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SettingError
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
from .rendered import PUBLISHED, Images, Rendered, was_given

if TYPE_CHECKING:
    from ..backend import Model

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
    from .. import plotting
    from ..techniques import saliency as technique

    results = [
        technique(
            loaded,
            options.photos(photo),
            target=options.target(target),
            input_range=input_range,
            mode=mode,
            fit=fit,
            seed=seed,
        )
        for loaded in options.load(model, backend, weights, device, dtype, threads)
    ]
    for result in results:
        for name, label in zip(result.batch.names, result.labels, strict=True):
            typer.echo(f"{result.provenance['backend']}: {name}: {label}")
    options.write(results, plotting.attributions, out, f"saliency-{model}.png")


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
    from .. import plotting
    from ..overlay import ON
    from ..techniques import gradcam as technique

    if on is not None and (on not in ON or (out is not None and out.suffix != ".png")):
        raise SettingError(f"--on {on}, --out {out}: expected {' or '.join(ON)}, and a file that ends in .png.")
    results = [
        technique(
            loaded,
            options.photos(photo),
            target=options.target(target),
            layer=layer,
            input_range=input_range or "imagenet",
            fit=fit or "crop",
        )
        for loaded in options.load(model, backend, weights, device, dtype, threads)
    ]
    for result in results:
        for name, label in zip(result.batch.names, result.labels, strict=True):
            typer.echo(f"{result.provenance['backend']}: {name}: {label}, at {result.layer}")
    if on is None:
        options.write(results, plotting.attributions, out, f"gradcam-{model}.png")
        return
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
    from .. import plotting
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
    from .. import images, plotting, techniques

    if noise and photo:
        raise SettingError(f"--noise and the photo {photo[0]!r} exclude each other; give one of them.")
    if scale not in ("each", "common"):
        raise SettingError(f"scale={scale!r}: expected 'each' or 'common'.")
    loaded = options.load(model, backend, weights, device, dtype, threads)
    reading = input_range or "imagenet"
    fitting = fit or ("squash" if noise else "crop")

    def source(one: Model) -> list[Any]:
        return [images.noise(size=min(one.spec.size), seed=seed)] if noise else options.photos(photo)

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
    results = [techniques.feature_maps(one, source(one), layer, input_range=reading, fit=fitting) for one in loaded]
    options.write(results, lambda all_of_them: plotting.feature_maps(all_of_them, scale), out, f"features-{model}.png")


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
    stages: Annotated[int, typer.Option("--stages", help="Sizes from first to last.")] = 46,
    steps: Annotated[int, typer.Option("--steps", help="Adam steps a stage.")] = 20,
    size: Annotated[int, typer.Option("--size", help="First side in pixels.")] = 28,
    scale: Annotated[float, typer.Option("--scale", help="Growth between stages.")] = 1.05,
    lr: Annotated[float, typer.Option("--lr", help="Adam's learning rate.")] = 0.4,
    activation_weight: Annotated[float, typer.Option("--activation-weight", help="Of the unit's rms.")] = 0.5,
    pixel_weight: Annotated[float, typer.Option("--pixel-weight", help="Of the pixels' rms.")] = 1.0,
    gradient_weight: Annotated[float, typer.Option("--gradient-weight", help="Of the derivatives' rms.")] = 1.0,
    beta: Annotated[float, typer.Option("--beta", help="Exponent of the derivatives.")] = 1.0,
    gradient_filter: Annotated[str, typer.Option("--gradient-filter", help="scharr, sobel or 5x5.")] = "scharr",
    target: Targets = None,
    recipe: Annotated[
        str, typer.Option("--recipe", help="published, or rendered as fourier, phase, laplacian or pixels.")
    ] = PUBLISHED,
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

    A unit is grown from noise by the published recipe; a class, and a unit with another --recipe, is rendered.
    """
    from .. import plotting
    from ..techniques import dream as technique

    loaded = options.load(model, backend, weights, device, dtype, threads)
    if target or recipe != PUBLISHED:
        given = {"steps": steps, "lr": lr, "size": size}
        told = {name: value for name, value in given.items() if was_given(context, name)}
        rendering = Rendered(recipe, layer, unit, target, tv_weight, images, every, checkpoint, seed, told)
        rendering.write(loaded, out, model)
        return
    results = [
        technique(
            one,
            layer,
            unit or None,
            stages=stages,
            steps=steps,
            size=size,
            scale=scale,
            lr=lr,
            activation_weight=activation_weight,
            pixel_weight=pixel_weight,
            gradient_weight=gradient_weight,
            beta=beta,
            gradient_filter=gradient_filter,
            seed=seed,
        )
        for one in loaded
    ]
    for result in results:
        for one_unit, reached in zip(result.units, result.activation[-1], strict=True):
            name = result.provenance["backend"]
            typer.echo(f"{name}: {result.layer} unit {one_unit}: activation {reached:.4g} at {result.sizes[-1]} px")
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
) -> None:
    """The most probable classes of each photo."""
    photos = options.photos(photo)
    for one in options.load(model, backend, weights, device, dtype, threads):
        for start in range(0, len(photos), PHOTOS):
            part = photos[start : start + PHOTOS]
            for name, rows in zip(part, one.predict(part, top, fit=fit or "crop"), strict=True):
                typer.echo(f"{one.backend}: {Path(name).name}")
                for found in rows:
                    typer.echo(f"  {found.probability:8.4f}  {found.index:4d}  {found.label}")
