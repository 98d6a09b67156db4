"""Commands that optimise pictures: of units and classes, galleries, deep dreams of a photo, inversions."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from .. import techniques
from ..contract.backend import Model as Network
from ..contract.errors import SettingError
from ..inputs import folders
from ..inputs import images as pixels
from ..results import animation
from ..results.dreams import Rendering
from ..techniques import class_pictures, render
from ..techniques.dreams import parametrisations as known
from ..techniques.dreams.objectives import unit as channel
from ..techniques.dreams.recipe import DEFAULT_UNIT, default_layer
from ..techniques.dreams.regularisers import total_variation
from . import options, photos
from .network import Model
from .options import CREW, Call, Fit, LayerName, Out, Photo, Seed, Targets, command, tell

PUBLISHED = "published"
RECIPES = ("fourier", "phase", "laplacian", "pixels")
PUBLISHED_ONLY = ("stages", "scale", "activation_weight", "pixel_weight", "gradient_weight", "beta", "gradient_filter")
RENDERED_ONLY = ("target", "tv_weight", "images", "every", "checkpoint")
FRAMES = 40
"""Of a film for which nobody said how many."""
MOVING = (".gif", ".mp4")


def real_pictures(folder: Path | None) -> list[Any] | None:
    """The readable images of a folder; what cannot be read is told and left out."""
    if folder is None:
        return None

    found = folders.readable(folders.find(folder))
    for one in found.skipped:
        typer.echo(f"left out: {one.name}: {one.reason}", err=True)
    return list(found.items)


@command("googlenet")
def dream(
    call: Call,
    layer: LayerName = None,
    unit: Annotated[list[int] | None, Option("--unit", "-u", help="A channel; more of them run as one batch.")] = None,
    stages: Annotated[int, Option(help="Published: sizes from first to last.")] = 46,
    steps: Annotated[int | None, Option(help="Adam steps; 512, for a class 256, published 20 a stage.")] = None,
    size: Annotated[int | None, Option(help="Side in pixels; 128, published first 28.")] = None,
    scale: Annotated[float, Option(help="Published: growth between stages.")] = 1.05,
    lr: Annotated[float | None, Option(help="Adam's learning rate; 0.05, published 0.4.")] = None,
    activation_weight: Annotated[float, Option(help="Published: the unit's rms.")] = 0.5,
    pixel_weight: Annotated[float, Option(help="Published: of the pixels' rms.")] = 1.0,
    gradient_weight: Annotated[float, Option(help="Of the derivatives' rms.")] = 1.0,
    beta: Annotated[float, Option(help="Published: exponent of the derivatives.")] = 1.0,
    gradient_filter: Annotated[str, Option(help="scharr, sobel or 5x5.")] = "scharr",
    target: Targets = None,
    recipe: Annotated[
        str, Option(help="Rendered as fourier, phase, laplacian or pixels; or the published one.")
    ] = RECIPES[0],
    tv_weight: Annotated[float | None, Option(help="Of the total variation, rendered; 20 for a class, else 0.")] = None,
    images: Annotated[
        Path | None, Option(help="A folder of real pictures among which each activation is placed.")
    ] = None,
    every: Annotated[int | None, Option(help="Steps between frames, for a .gif or .mp4.")] = None,
    checkpoint: Annotated[Path | None, Option(help="An .npz from which to go on.")] = None,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """The picture that a unit, or with --target a class, responds to most.

    It is rendered from Fourier coefficients; --recipe published grows it from noise as the homework does.
    """
    from .. import draw as plotting

    own = PUBLISHED_ONLY if recipe != PUBLISHED else RENDERED_ONLY
    foreign = [name for name in own if call.wrote(name)]
    if foreign:
        others = f"--recipe {PUBLISHED}" if recipe != PUBLISHED else f"--recipe {' or '.join(RECIPES)}"
        named = " and ".join("--" + name.replace("_", "-") for name in foreign)
        raise SettingError(f"{named} belongs to {others}; this is --recipe {recipe}.")
    if recipe != PUBLISHED and target and (layer or unit):
        raise SettingError("--target asks for a class, --layer and --unit for a unit; give one of the two.")
    if recipe != PUBLISHED and target and recipe != RECIPES[0]:
        raise SettingError(f"--target is rendered as fourier; --recipe {recipe} is for units.")
    moving = out is not None and out.suffix in MOVING
    if moving and len(set(call.given["backend"] or [])) > 1:
        raise SettingError(f"--out {out}: a film is of one backend; give --backend once.")
    if recipe != PUBLISHED:
        _render(call, moving, out)
        return
    frames: list[Any] = []
    loaded = call.load()
    results = [
        techniques.dream(
            one,
            layer,
            unit or None,
            **call.settings(techniques.dream),
            on_stage=(lambda stage: frames.append(pixels.picture(stage.pictures))) if moving else None,
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
    options.write(results, plotting.dream, out, f"dream-{call.name}.png")


def _render(call: Call, moving: bool, out: Path | None) -> None:
    """Render in every backend by :func:`vizkit.render`, say what was reached, and write the figure or the film."""
    from .. import draw as plotting

    models, given = call.load(), call.given
    every = given["every"]
    if moving and every is None:
        usual = inspect.signature(class_pictures if given["target"] else render).parameters["steps"].default
        every = max(1, (given["steps"] or usual) // FRAMES)
    common = {"every": every, "images": real_pictures(given["images"])}
    results = [_rendering(call, model, common) for model in models]
    for result in results:
        for item, title in enumerate(result.titles):
            said = result.evidence.text(item).replace("\n", "; ")
            typer.echo(f"{result.provenance['backend']}: {title}: {said}")
    if moving and out is not None:
        typer.echo(f"wrote {results[0].save(out)}")
    else:
        options.write(results, plotting.rendering, out, f"dream-{call.name}.png")


def _rendering(call: Call, model: Network, common: dict[str, Any]) -> Rendering:
    given = call.given
    if given["checkpoint"] is not None:
        common = common | {"checkpoint": options.apart(given["checkpoint"], model.backend, 2)}
    if given["target"]:
        return class_pictures(model, list(given["target"]), **call.settings(class_pictures) | common)
    layer = given["layer"] or default_layer(model)
    model.check_layer(layer)
    units = list(given["unit"] or [DEFAULT_UNIT if model.layers[layer].shape[1] > DEFAULT_UNIT else 0])
    objective = channel(layer, units)
    if given["tv_weight"]:
        objective = objective - given["tv_weight"] * total_variation()
    kinds = dict(zip(RECIPES, (known.Fourier, known.Phase, known.Laplacian, known.Pixels), strict=True))
    settings = call.settings(render) | common
    return render(
        model,
        objective,
        parametrisation=kinds[given["recipe"]](given["size"] or 128, model.spec.channels),
        titles=[f"{layer} unit {one}" for one in units],
        **settings,
    )


@command(more=CREW)
def gallery(
    call: Call,
    model: Model = "googlenet",
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
    photo: Photo = None,
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

    results = []
    for one in call.load():
        aim = layer if unit is None else channel(layer or default_layer(one), unit)
        settings = call.settings(techniques.deepdream)
        results.append(techniques.deepdream(one, photo or photos.given(None)[0], aim, **settings))
    options.write(results, plotting.deepdream, out, f"deepdream-{call.name}.png")


@command("vgg19")
def invert(
    call: Call,
    photo: Photo = None,
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

    given = photo or photos.given(None)[0]
    results = [techniques.invert(one, given, layer or None, **call.settings(techniques.invert)) for one in call.load()]
    options.write(results, plotting.inversion, out, f"invert-{call.name}.png")
