"""Commands on the network itself: its layers, its diagram, its receptive fields, its weights files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from .. import zoo
from ..techniques import receptive_field
from . import options, photos
from .options import BackendNames, Call, Fit, Out, Photos, Seed, WeightsName, app, command

Model = Annotated[str, Argument(help=options.MODEL)]


@command(networks=False)
def layers(
    call: Call,
    model: Model = "vgg19",
    backend: BackendNames = None,
    weights: WeightsName = "random:0",
    as_json: Annotated[bool, Option("--json", help="The same as JSON, with every field's start.")] = False,
) -> None:
    """Every operation of a network: shape, parameters, multiply-adds, receptive field, stride, and the totals."""
    from ..techniques.network import table

    for one in call.load():
        found = table.rows(one)
        typer.echo(json.dumps(table.as_json(one, found)) if as_json else table.text(one, found))


@command(networks=False)
def diagram(
    call: Call,
    model: Model = "vgg19",
    backend: BackendNames = None,
    weights: WeightsName = "random:0",
    style: Annotated[str, Option(help="auto; volumes, for networks in a row; or flow.")] = "auto",
    collapse: Annotated[bool, Option(help="Draw equal blocks in a row once.")] = True,
    out: Annotated[Path | None, Option("--out", "-o", help="SVG, PNG, PDF, or HTML with blocks to open.")] = None,
) -> None:
    """A drawing of a network's real graph, as papers draw it; in HTML its blocks open and close."""
    from ..draw.network.diagram import diagram as draw

    target = out or Path(f"diagram-{call.name}.svg")
    loaded = call.load()
    for one in loaded:
        drawn = draw(one, style=style, collapse=collapse)
        typer.echo(f"wrote {drawn.save(options.apart(target, one.backend, len(loaded)))}")


@command("vgg19")
def receptive(
    call: Call,
    photo: Photos = None,
    layer: Annotated[
        list[str] | None,
        Option("--layer", "-l", help="A layer, more than once for several; all; default: the last at each size."),
    ] = None,
    unit: Annotated[int | None, Option("--unit", "-u", help="A channel; default: the sum of all.")] = None,
    noise: Annotated[int, Option(help="Noise pictures to average over; 0: the photos.")] = 8,
    seed: Seed = 0,
    input_range: options.InputRange = None,
    fit: Fit = None,
    out: Out = None,
) -> None:
    """What the middle unit of each layer can see (theoretical) and looks at (effective), drawn on a photo."""
    from ..draw import receptive_fields

    given = photos.given(photo)
    results = [receptive_field(one, given, layer or None, **call.settings(receptive_field)) for one in call.load()]
    for result in results:
        typer.echo(result.table())
    options.write(results, receptive_fields, out, f"receptive-{call.name}.png")


@app.command()
def convert(
    model: Annotated[str, Argument(help="A canonical name, for example resnet50.")],
    source: Annotated[str, Argument(help="A file, imagenet, torchvision, gluon, or random:SEED.")],
    out: Annotated[Path, Option("--out", "-o", help="The file: .safetensors, .pth or .params.")],
    stride: Annotated[
        str | None, Option(help="1x1 or 3x3: where a bottleneck ResNet strides, if the source does not say.")
    ] = None,
) -> None:
    """Weights from one format to another, exactly: .pth (torchvision), .params (Gluon zoo), .safetensors (neutral)."""
    done = zoo.convert(model, source, out, stride=stride)
    typer.echo(f"{done.model}: {done.count:,} numbers in {done.tensors} tensors, from {done.source}")
    if done.stride:
        typer.echo(f"stride: {zoo.description.STRIDES[done.stride]}")
    if done.transform_input:
        typer.echo(f"input: {zoo.description.TRANSFORMS[True]}")
    if done.folded:
        typer.echo(f"folded: {done.folded} biases of 1x1 convolutions into the batch norms after them")
    if done.left_out:
        names = ", ".join(done.left_out[:3]) + (", …" if len(done.left_out) > 3 else "")
        typer.echo(f"left out: {len(done.left_out)} tensors that play no part in inference ({names})")
    typer.echo(f"wrote {done.target}")


@app.command()
def weights(
    file: Annotated[Path, Argument(help="A weights file: .safetensors, .pth or .params.")],
) -> None:
    """What a weights file holds: format, hash, parameters, shapes, and the model that it is likely of."""
    typer.echo(zoo.describe(file).table())
