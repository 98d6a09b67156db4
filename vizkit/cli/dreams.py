"""Commands that optimise pictures: galleries, deep dreams of a photo, inversions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .app import app
from .options import BackendNames, Device, Dtype, Fit, LayerName, ModelName, Out, Seed, Threads, WeightsName
from .rendered import real_pictures


@app.command()
def gallery(
    model: Annotated[str, typer.Argument(help="A name from `vizkit models`.")] = "googlenet",
    layers: Annotated[
        list[str] | None, typer.Option("--layers", help="Names, with commas or given again; or all.")
    ] = None,
    top: Annotated[int, typer.Option("--top", help="Units a layer.")] = 10,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="A folder of real pictures: they choose the units and place each activation."),
    ] = None,
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    steps: Annotated[int, typer.Option("--steps", help="Of Adam, for each picture.")] = 256,
    size: Annotated[int, typer.Option("--size", help="Side of the pictures in pixels.")] = 128,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder; one with an earlier gallery goes on.")] = Path(
        "vizkit-gallery"
    ),
) -> None:
    """What the units of every layer respond to most: a sheet a layer, and a page of them all."""
    from ..reports.gallery import chosen_layers, make

    index = make(
        options.load(model, backend, weights, device, dtype, threads),
        layers=chosen_layers(layers or ["all"]),
        top=top,
        images=real_pictures(images),
        steps=steps,
        size=size,
        seed=seed,
        out=out,
        tell=lambda text: typer.echo(text, err=True),
    )
    typer.echo(f"wrote {index}")


@app.command()
def deepdream(
    photo: Annotated[str | None, typer.Argument(metavar="[PHOTO]", help="An image; the bundled cat without.")] = None,
    model: ModelName = "googlenet",
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    layer: LayerName = None,
    unit: Annotated[int | None, typer.Option("--unit", "-u", help="One channel of the layer instead of all.")] = None,
    octaves: Annotated[int, typer.Option("--octaves", help="Sizes of the photo.")] = 4,
    octave_scale: Annotated[float, typer.Option("--octave-scale", help="Growth from one to the next.")] = 1.4,
    steps: Annotated[int, typer.Option("--steps", help="Steps an octave.")] = 12,
    lr: Annotated[float, typer.Option("--lr", help="Length of a step.")] = 0.03,
    jitter: Annotated[int, typer.Option("--jitter", help="Largest shift in pixels.")] = 24,
    size: Annotated[int, typer.Option("--size", help="Longer side of the result in pixels.")] = 512,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: Out = None,
) -> None:
    """A photo in which a layer, or one unit, sees more of what it already sees."""
    from .. import draw as plotting
    from ..techniques import deepdream as technique
    from ..techniques.dreams.objectives import unit as channel
    from ..techniques.dreams.recipe import default_layer

    results = []
    for one in options.load(model, backend, weights, device, dtype, threads):
        aim = layer if unit is None else channel(layer or default_layer(one), unit)
        results.append(
            technique(
                one,
                photo or options.photos(None)[0],
                aim,
                octaves=octaves,
                octave_scale=octave_scale,
                steps=steps,
                lr=lr,
                jitter=jitter,
                size=size,
                seed=seed,
            )
        )
    options.write(results, plotting.deepdream, out, f"deepdream-{model}.png")


@app.command()
def invert(
    photo: Annotated[str | None, typer.Argument(metavar="[PHOTO]", help="An image; the bundled cat without.")] = None,
    model: ModelName = "vgg19",
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    layer: Annotated[
        list[str] | None, typer.Option("--layer", "-l", help="Once for each; default: five from first to last.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Of Adam, for each layer.")] = 400,
    lr: Annotated[float, typer.Option("--lr", help="Adam's learning rate.")] = 0.05,
    tv_weight: Annotated[float, typer.Option("--tv-weight", help="Of the total variation.")] = 0.1,
    seed: Seed = 0,
    fit: Fit = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: Out = None,
) -> None:
    """What each layer still knows of a photo: pictures that it cannot tell from it."""
    from .. import draw as plotting
    from ..techniques import invert as technique

    results = [
        technique(
            one,
            photo or options.photos(None)[0],
            layer or None,
            steps=steps,
            lr=lr,
            tv_weight=tv_weight,
            seed=seed,
            fit=fit or "crop",
        )
        for one in options.load(model, backend, weights, device, dtype, threads)
    ]
    options.write(results, plotting.inversion, out, f"invert-{model}.png")
