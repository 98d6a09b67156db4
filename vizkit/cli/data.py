"""Commands on folders of images: what makes a unit fire, health, embeddings, atlases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from .. import techniques
from ..contract import backend as contract
from ..contract.backend import Model
from ..contract.errors import SettingError
from ..inputs import folders
from ..inputs.folders import Pictures
from ..support.crew import crew
from ..zoo import loading as api
from ..zoo import shapes
from . import options
from .checks import FIGURE
from .options import CREW, Call, Fit, InputRange, LayerName, Seed, command

ModelArgument = Annotated[str, Argument(metavar="MODEL", help=options.MODEL)]
Images = Annotated[
    list[Path] | None,
    Option("--images", "-i", help="A folder of images, or files; more of them. Default: samples of shapes."),
]
Layers = Annotated[list[str] | None, Option("--layer", "-l", help="A layer; more of them. Default: all.")]
Samples = Annotated[int, Option("--samples", help="Pictures of shapes, when no images are given.")]
State = Annotated[
    Path | None, Option("--state", help="Keep the run in this folder, and go on from it when it was stopped.")
]
BatchSize = Annotated[int | None, Option("--batch-size", help="Images at once; default: as many as fit.")]
Draft = Annotated[
    int | None,
    Option("--draft", help="Decode large JPEG photos smaller, down to so many pixels: faster, not bit for bit."),
]
DryRun = Annotated[
    bool, Option("--dry-run", help="Only say how many pictures there are, and what time and memory they take.")
]
FOLDER = {
    "state": (State, None), "input_range": (InputRange, None), "fit": (Fit, None), "draft": (Draft, None),
    "seed": (Seed, 0), "batch_size": (BatchSize, None), **CREW, "dry_run": (DryRun, False),
}  # fmt: skip
"""Options of what streams over a folder, with their defaults."""
Page = Annotated[Path | None, Option("--out", "-o", help="A folder for the page; or a PNG, PDF, SVG or NPZ file.")]


def pictures(call: Call) -> Pictures:
    """The images that the user named, or labelled samples of shapes."""
    if call.given["images"]:
        return folders.find(*call.given["images"], draft=call.given["draft"])
    drawn = shapes.sample(call.given["samples"], seed=call.given["seed"])
    return folders.collect(drawn.images, [shapes.CLASSES[int(label)] for label in drawn.labels])


@command(more=FOLDER)
def unit(
    call: Call,
    model: ModelArgument,
    layer: Annotated[str, Argument(help="A name from `vizkit layers MODEL`.")],
    unit: Annotated[int | None, Argument(help="A channel; without it, top patches of every unit.")] = None,
    images: Images = None,
    k: Annotated[int, Option("--top", "-k", help="Patches of each unit.")] = 9,
    samples: Samples = 240,
    out: Page = None,
) -> None:
    """The page of one unit over a folder of images: weights, receptive field, top patches, histogram, dream, votes."""
    from ..reports.unit import make

    if unit is not None and out is not None and out.suffix in FIGURE:
        raise SettingError(f"--out {out}: the page of one unit is a folder; give one without a suffix.")
    if unit is None and out is not None and out.suffix not in FIGURE:
        raise SettingError(f"--out {out}: the patches of all units are one figure; give a file, such as {out}.png.")
    if unit is not None and not call.given["dry_run"]:
        found = pictures(call)
        settings = call.settings(make) | {"out": out or Path(f"unit-{call.name}-{layer}-{unit}")}
        options.opened(make(call.load(), layer, unit, found, **settings))
        return
    results = each(call, techniques.top_patches, layer)
    options.save(results, out or Path(f"unit-{call.name}-{layer}.png"))
    options.differences(results)


def each(
    call: Call,
    technique: Callable[..., Any],
    layer: str | list[str] | None,
    say: Callable[[Any], str] | None = None,
) -> list[Any]:
    """A technique's result in each backend, every one with a state of its own, and what there is to ``say`` of it; or,
    of a dry run, only what it takes."""
    found, loaded = pictures(call), call.load()
    settings, state = call.settings(technique), call.given["state"]
    if call.given.get("dry_run"):
        _estimated(call, loaded, lambda one, more, some: technique(one, some, layer, **settings | more), found)
    results = []
    for one in loaded:
        own = {"state": state and options.apart(state, one.backend, len(loaded))}
        with folders.watched() as runs:
            results.append(technique(one, found, layer, **settings | own))
        for run in runs:
            options.tell(f"{one.backend}: the network waited for pictures {run.spent.share:.1%} of the time")
    for result in results:
        read = result.provenance["images"]
        typer.echo(f"{result.provenance['backend']}: {read['count']} pictures read, {len(read['skipped'])} skipped")
        for one in read["skipped"]:
            typer.echo(f"  skipped {one['name']}: {one['reason']}", err=True)
        if say is not None:
            typer.echo(say(result))
    return results


ALONE: dict[str, Any] = {"state": None, "workers": None, "scheduler": None}
"""Settings of a run that is measured: in this process, and not kept."""


def _estimated(
    call: Call, loaded: Sequence[Model], run: Callable[[Model, dict[str, Any], Pictures], Any], found: Pictures
) -> None:
    """Say what the whole takes in each backend, measured on some of the pictures in this process, and leave."""
    with crew(**call.crew) as team:
        size = team.size
    if size > 1 and call.given["threads"] is None and call.given["scheduler"] is None:
        api.set_threads(max(1, contract.cpu_count() // size))
    for one in loaded:
        taken = folders.estimate(partial(run, one, ALONE), found, workers=size)
        typer.echo(f"{one.backend}: {taken.text()}")
    raise typer.Exit()


@command(more=FOLDER)
def health(
    call: Call,
    model: ModelArgument,
    images: Images = None,
    layer: Layers = None,
    threshold: Annotated[float, Option(help="Correlation of near-duplicate units.")] = 0.95,
    saturation: Annotated[float, Option(help="Share of positions at the maximum.")] = 0.05,
    csv: Annotated[Path | None, Option(help="The table as CSV, with pairs and dead units.")] = None,
    samples: Samples = 240,
    out: options.Out = None,
) -> None:
    """Dead, saturated and near-duplicate units of each layer over a folder of images, and sparsity by depth."""
    from .. import draw as plotting

    results = each(call, techniques.health, layer or None, lambda result: result.table())
    if csv is not None:
        options.save(results, csv)
    options.write(results, plotting.health, out, f"health-{call.name}.png")


@command(more=FOLDER)
def statistics(
    call: Call,
    model: ModelArgument,
    images: Images = None,
    layer: Layers = None,
    samples: Samples = 240,
    out: options.Out = None,
) -> None:
    """How active every layer is over a folder of images: zeros, blank channels, mean and maximum."""
    from .. import draw as plotting

    results = each(call, techniques.activation_statistics, layer or None, lambda result: result.table())
    options.write(results, plotting.activation_statistics, out, f"statistics-{call.name}.png")


@command(more=FOLDER)
def embed(
    call: Call,
    model: ModelArgument,
    images: Images = None,
    layer: LayerName = None,
    method: Annotated[str, Option(help="tsne, umap or pca.")] = "tsne",
    pool: Annotated[str, Option(help="mean or max over positions, or none: all of them.")] = "mean",
    components: Annotated[int, Option(help="Principal components before t-SNE.")] = 50,
    perplexity: Annotated[float, Option(help="Of t-SNE; neighbours of UMAP.")] = 30.0,
    samples: Samples = 480,
    out: Page = None,
) -> None:
    """A map of a folder's images by a layer's features: a page with thumbnails and search, and an image scatter."""
    from ..reports.embedding import write

    results = each(call, techniques.embed, layer, lambda one: f"{one.provenance['backend']}: {one.text()}")
    target = out or Path(f"embedding-{call.name}")
    if target.suffix:
        options.save(results, target)
    else:
        options.opened(write(results, target))
    options.differences(results)


@command(more={name: option for name, option in FOLDER.items() if name != "dry_run"})
def atlas(
    call: Call,
    model: ModelArgument,
    images: Annotated[
        list[Path] | None, Argument(metavar="[FOLDER]...", help="Folders of images; none: samples of shapes.")
    ] = None,
    layer: LayerName = None,
    method: Annotated[
        str | None, Option(help="umap, tsne or pca; default: umap where it is installed, else tsne.")
    ] = None,
    grid: Annotated[int, Option(help="Cells along each side.")] = 12,
    per_picture: Annotated[int, Option(help="Positions of each picture.")] = 1,
    least: Annotated[int, Option(help="Activations that a cell needs.")] = 1,
    size: Annotated[int, Option(help="Side of a cell's picture in pixels.")] = 64,
    steps: Annotated[int, Option(help="Of the rendering of each cell.")] = 128,
    samples: Samples = 480,
    out: Annotated[Path | None, Option("--out", "-o", help="An HTML file; or PNG, PDF, SVG, NPZ.")] = None,
) -> None:
    """An activation atlas of a layer over a folder of images: one page with a map to zoom into."""
    from ..reports.atlas import write

    target, results = out or Path(f"atlas-{call.name}.html"), each(call, techniques.activation_atlas, layer)
    for result in results:
        file = options.apart(target, result.provenance["backend"], len(results))
        if file.suffix == ".html":
            options.opened(write(result, file))
        else:
            options.save([result], file)
