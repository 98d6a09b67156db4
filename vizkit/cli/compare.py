"""The comparison study of models, backends and weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from ..reports.compare import compare as run
from .options import Backends, Call, Photos, Scheduler, Workers, command, tell

SHOWN = 10


@command(networks=False)
def compare(
    call: Call,
    photo: Photos = None,
    study: Annotated[
        Path | None, Option(help="A TOML file with these options; what is given here replaces its.")
    ] = None,
    model: Annotated[list[str] | None, Option("--model", "-m", help="A name from `vizkit models`; repeat.")] = None,
    backend: Backends = None,
    weights: Annotated[
        list[str] | None,
        Option("--weights", "-w", help="imagenet, random:SEED, a file, or MODEL=FILE; repeat. Default: imagenet."),
    ] = None,
    technique: Annotated[
        list[str] | None,
        Option(
            help="An attribution method, feature_maps, predict, or all; repeat. Default: saliency and feature_maps."
        ),
    ] = None,
    layers: Annotated[
        list[str] | None,
        Option("--layers", "-l", help="Of feature_maps: blocks, all, or a layer's name; repeat. Default: blocks."),
    ] = None,
    target: Annotated[
        str | None, Option("--target", "-t", help="Class index, label, or all. Default: each network's top-1.")
    ] = None,
    fit: Annotated[str | None, Option(help="crop or squash. Default: crop.")] = None,
    input_range: Annotated[str | None, Option(help="imagenet or unit. Default: imagenet.")] = None,
    seed: Annotated[int | None, Option(help="Of everything random. Default: 0.")] = None,
    device: Annotated[str | None, Option(help="cpu, cuda or cuda:1. Default: cpu.")] = None,
    repeats: Annotated[int | None, Option(help="Timed runs of each cell. Default: 5.")] = None,
    threads: Annotated[int | None, Option(help="Threads of one operator. Default: all processors.")] = None,
    tolerance: Annotated[float | None, Option(help="Relative L2 beyond which backends diverge. Default: 1e-5.")] = None,
    judge: Annotated[
        bool | None, Option("--judge/--no-judge", help="PyTorch in float64 says who is off. Default: judge.")
    ] = None,
    fail_over: Annotated[
        float | None, Option(help="Exit with 1 when two backends part by more, in relative L2, or a cell fails.")
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    out: Annotated[
        Path, Option("--out", "-o", help="The folder: new, empty, or an earlier study's, which is resumed.")
    ] = Path("vizkit-compare"),
) -> None:
    """Models x backends x weights x techniques x images, measured and compared in one report folder."""
    found = run(list(photo) if photo else None, **call.settings(run), tell=tell)
    for one in found.failures:
        cell = f"{one['model']}, {one['weights']}, {one['backend']} {one['dtype']}, {one['technique']}, {one['image']}"
        typer.echo(f"failed: {cell}: {one['error']}", err=True)
    worst = found.results["worst_relative_l2_of_backends"]
    if worst is not None:
        typer.echo(f"largest relative L2 between backends: {worst:.2e}")
    typer.echo(f"wrote {found.index}; open it in a browser: {found.index.resolve().as_uri()}")
    if fail_over is not None:
        _judge(found.beyond(fail_over), fail_over, len(found.failures))


def _judge(beyond: list[Mapping[str, Any]], tolerance: float, failed: int) -> None:
    """Exit with 1 where backends part by more than they may, or where a cell failed and nothing can be said of it."""
    for row in beyond[:SHOWN]:
        a, b, share = row["a"], row["b"], row["numbers"]["relative_l2"]
        where = f"{a['model']}, {row['technique']}, {row['image']}, {row['array']}"
        size = "no number" if share is None else f"{share:.2e}"
        typer.echo(f"beyond {tolerance:g}: {where}: {a['backend']} against {b['backend']}: {size}", err=True)
    if len(beyond) > SHOWN:
        typer.echo(f"beyond {tolerance:g}: {len(beyond) - SHOWN} more, in results.json", err=True)
    if beyond or failed:
        raise typer.Exit(1)
