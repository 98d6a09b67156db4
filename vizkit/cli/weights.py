"""Commands on weights files: conversion between formats, and what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from .options import app


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
    from .. import zoo

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
    from .. import zoo

    typer.echo(zoo.describe(file).table())
