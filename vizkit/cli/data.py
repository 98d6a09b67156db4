"""Commands on folders of images: what makes a unit fire, health, embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..contract.errors import SettingError
from . import options
from .app import app
from .checks import FIGURE
from .options import BackendNames, Device, Dtype, Fit, InputRange, LayerName, Seed, Threads, WeightsName

if TYPE_CHECKING:
    from ..inputs.folders import Pictures
    from ..results.base import Result

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A name from `vizkit models`.")]
Images = Annotated[
    list[Path] | None,
    typer.Option("--images", "-i", help="A folder of images, or files; more of them. Default: samples of shapes."),
]
Samples = Annotated[int, typer.Option("--samples", help="Pictures of shapes, when no images are given.")]
State = Annotated[
    Path | None, typer.Option("--state", help="Keep the run in this file, and go on from it when it was stopped.")
]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="Images at once; default: fit 1 GiB.")]
Page = Annotated[
    Path | None, typer.Option("--out", "-o", help="A folder for the page; or a PNG, PDF, SVG or NPZ file.")
]


def pictures(given: list[Path] | None, samples: int, seed: int) -> Pictures:
    """The images that the user named, or labelled samples of shapes."""
    from ..inputs import folders
    from ..zoo import shapes

    if given:
        return folders.find(*given)
    drawn = shapes.sample(samples, seed=seed)
    return folders.collect(drawn.images, [shapes.CLASSES[int(label)] for label in drawn.labels])


def report(result: Result) -> None:
    """How many pictures were read, and which were not."""
    found = result.provenance["images"]
    typer.echo(f"{result.provenance['backend']}: {found['count']} pictures read, {len(found['skipped'])} skipped")
    for one in found["skipped"]:
        typer.echo(f"  skipped {one['name']}: {one['reason']}", err=True)


@app.command()
def unit(
    model: ModelArgument,
    layer: Annotated[str, typer.Argument(help="A name from `vizkit layers MODEL`.")],
    unit: Annotated[int | None, typer.Argument(help="A channel; without it, top patches of every unit.")] = None,
    images: Images = None,
    k: Annotated[int, typer.Option("--top", "-k", help="Patches of each unit.")] = 9,
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    state: State = None,
    samples: Samples = 240,
    input_range: InputRange = None,
    fit: Fit = None,
    seed: Seed = 0,
    batch_size: BatchSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: Page = None,
) -> None:
    """The page of one unit over a folder of images: weights, receptive field, top patches, histogram, dream, votes."""
    from .. import techniques
    from ..reports.unit import make

    if unit is not None and out is not None and out.suffix in FIGURE:
        raise SettingError(f"--out {out}: the page of one unit is a folder; give one without a suffix.")
    if unit is None and out is not None and out.suffix not in FIGURE:
        raise SettingError(f"--out {out}: the patches of all units are one figure; give a file, such as {out}.png.")
    found = pictures(images, samples, seed)
    loaded = options.load(model, backend, weights, device, dtype, threads)
    reading, fitting = input_range or "imagenet", fit or "crop"
    if unit is not None:
        page = make(
            loaded, layer, unit, found, out=out or Path(f"unit-{model}-{layer}-{unit}"), k=k, state=state, seed=seed,
            input_range=reading, fit=fitting, batch_size=batch_size,
        )  # fmt: skip
        typer.echo(f"wrote {page.resolve()}; open it in a browser: {page.resolve().as_uri()}")
        return
    results = [
        techniques.top_patches(
            one, found, layer, k=k, state=_of(state, one.backend, len(loaded)), input_range=reading, fit=fitting,
            batch_size=batch_size,
        )
        for one in loaded
    ]  # fmt: skip
    for result in results:
        report(result)
        target = out or Path(f"unit-{model}-{layer}.png")
        if len(results) > 1:
            target = target.with_stem(f"{target.stem}-{result.provenance['backend']}")
        typer.echo(f"wrote {result.save(target)}")
    options.differences(results)


def _of(state: Path | None, backend: str, count: int) -> Path | None:
    return state if state is None or count == 1 else state.with_stem(f"{state.stem}-{backend}")


@app.command()
def health(
    model: ModelArgument,
    images: Images = None,
    layer: Annotated[
        list[str] | None, typer.Option("--layer", "-l", help="A layer; more of them. Default: all.")
    ] = None,
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    threshold: Annotated[float, typer.Option("--threshold", help="Correlation of near-duplicate units.")] = 0.95,
    saturation: Annotated[float, typer.Option("--saturation", help="Share of positions at the maximum.")] = 0.05,
    csv: Annotated[Path | None, typer.Option("--csv", help="The table as CSV, with pairs and dead units.")] = None,
    state: State = None,
    samples: Samples = 240,
    input_range: InputRange = None,
    fit: Fit = None,
    seed: Seed = 0,
    batch_size: BatchSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: options.Out = None,
) -> None:
    """Dead, saturated and near-duplicate units of each layer over a folder of images, and sparsity by depth."""
    from .. import techniques
    from ..draw import units as panels

    if csv is not None and csv.suffix != ".csv":
        raise SettingError(f"--csv {csv}: the file must end in .csv.")
    found = pictures(images, samples, seed)
    loaded = options.load(model, backend, weights, device, dtype, threads)
    results = [
        techniques.health(
            one, found, layer or None, threshold=threshold, saturation=saturation,
            state=_of(state, one.backend, len(loaded)), input_range=input_range or "imagenet", fit=fit or "crop",
            batch_size=batch_size,
        )
        for one in loaded
    ]  # fmt: skip
    for result in results:
        report(result)
        typer.echo(result.table())
        if csv is not None:
            target = csv if len(results) == 1 else csv.with_stem(f"{csv.stem}-{result.provenance['backend']}")
            typer.echo(f"wrote {result.save(target)}")
    options.write(results, panels.health, out, f"health-{model}.png")


@app.command()
def embed(
    model: ModelArgument,
    images: Images = None,
    layer: LayerName = None,
    method: Annotated[str, typer.Option("--method", help="tsne, umap or pca.")] = "tsne",
    pool: Annotated[str, typer.Option("--pool", help="mean or max over positions, or none: all of them.")] = "mean",
    components: Annotated[int, typer.Option("--components", help="Principal components before t-SNE.")] = 50,
    perplexity: Annotated[float, typer.Option("--perplexity", help="Of t-SNE; neighbours of UMAP.")] = 30.0,
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    state: State = None,
    samples: Samples = 480,
    input_range: InputRange = None,
    fit: Fit = None,
    seed: Seed = 0,
    batch_size: BatchSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: Page = None,
) -> None:
    """A map of a folder's images by a layer's features: a page with thumbnails and search, and an image scatter."""
    from .. import techniques
    from ..reports.embedding import write

    found = pictures(images, samples, seed)
    loaded = options.load(model, backend, weights, device, dtype, threads)
    results = [
        techniques.embed(
            one, found, layer, method=method, pool=pool, components=components, perplexity=perplexity, seed=seed,
            state=_of(state, one.backend, len(loaded)), input_range=input_range or "imagenet", fit=fit or "crop",
            batch_size=batch_size,
        )
        for one in loaded
    ]  # fmt: skip
    for result in results:
        report(result)
        typer.echo(f"{result.provenance['backend']}: {result.text()}")
    target = out or Path(f"embedding-{model}")
    if target.suffix:
        for result in results:
            name = target if len(results) == 1 else target.with_stem(f"{target.stem}-{result.provenance['backend']}")
            typer.echo(f"wrote {result.save(name)}")
    else:
        page = write(results, target)
        typer.echo(f"wrote {page.resolve()}; open it in a browser: {page.resolve().as_uri()}")
    options.differences(results)
