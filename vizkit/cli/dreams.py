"""Commands that optimise pictures: galleries, deep dreams of a photo, inversions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from . import options
from .options import CREW, Call, Fit, LayerName, Out, Seed, command, tell
from .rendered import real_pictures


@command(more=CREW)
def gallery(
    call: Call,
    model: Annotated[str, Argument(help="A name from `vizkit models`.")] = "googlenet",
    layers: Annotated[list[str] | None, Option(help="Names, with commas or given again; or all.")] = None,
    top: Annotated[int, Option(help="Units a layer.")] = 10,
    images: Annotated[
        Path | None, Option(help="A folder of real pictures: they choose the units and place each activation.")
    ] = None,
    steps: Annotated[int, Option(help="Of Adam, for each picture.")] = 256,
    size: Annotated[int, Option(help="Side of the pictures in pixels.")] = 128,
    seed: Seed = 0,
    out: Annotated[Path, Option("--out", "-o", help="A folder; one with an earlier gallery goes on.")] = Path(
        "vizkit-gallery"
    ),
) -> None:
    """What the units of every layer respond to most: a sheet a layer, and a page of them all."""
    from ..reports.gallery import chosen_layers, make

    own = {"layers": chosen_layers(layers or ["all"]), "images": real_pictures(images), "tell": tell}
    index = make(call.load(), **call.settings(make) | own)
    typer.echo(f"wrote {index}")


@command("googlenet")
def deepdream(
    call: Call,
    photo: Annotated[str | None, Argument(metavar="[PHOTO]", help="An image; the bundled cat without.")] = None,
    layer: LayerName = None,
    unit: Annotated[int | None, Option("--unit", "-u", help="One channel of the layer instead of all.")] = None,
    octaves: Annotated[int, Option(help="Sizes of the photo.")] = 4,
    octave_scale: Annotated[float, Option(help="Growth from one to the next.")] = 1.4,
    steps: Annotated[int, Option(help="Steps an octave.")] = 12,
    lr: Annotated[float, Option(help="Length of a step.")] = 0.03,
    jitter: Annotated[int, Option(help="Largest shift in pixels.")] = 24,
    size: Annotated[int, Option(help="Longer side of the result in pixels.")] = 512,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """A photo in which a layer, or one unit, sees more of what it already sees."""
    from .. import draw as plotting
    from ..techniques import deepdream as technique
    from ..techniques.dreams.objectives import unit as channel
    from ..techniques.dreams.recipe import default_layer

    results = []
    for one in call.load():
        aim = layer if unit is None else channel(layer or default_layer(one), unit)
        results.append(technique(one, photo or options.photos(None)[0], aim, **call.settings(technique)))
    options.write(results, plotting.deepdream, out, f"deepdream-{call.given['model']}.png")


@command("vgg19")
def invert(
    call: Call,
    photo: Annotated[str | None, Argument(metavar="[PHOTO]", help="An image; the bundled cat without.")] = None,
    layer: Annotated[
        list[str] | None, Option("--layer", "-l", help="Once for each; default: five from first to last.")
    ] = None,
    steps: Annotated[int, Option(help="Of Adam, for each layer.")] = 400,
    lr: Annotated[float, Option(help="Adam's learning rate.")] = 0.05,
    tv_weight: Annotated[float, Option(help="Of the total variation.")] = 0.1,
    seed: Seed = 0,
    fit: Fit = None,
    out: Out = None,
) -> None:
    """What each layer still knows of a photo: pictures that it cannot tell from it."""
    from .. import draw as plotting
    from ..techniques import invert as technique

    given = photo or options.photos(None)[0]
    results = [technique(one, given, layer or None, **call.settings(technique)) for one in call.load()]
    options.write(results, plotting.inversion, out, f"invert-{call.given['model']}.png")
