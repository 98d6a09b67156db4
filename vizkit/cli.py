"""The command line: the same names, options and defaults as in Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import SettingError, VizkitError

if TYPE_CHECKING:
    from .backend import Model
    from .results import Result

app = typer.Typer(
    name="vizkit",
    help="CNN visualisation, written once and proved equal on MXNet Gluon and PyTorch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Photos = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PHOTO]...", help="Image files; the bundled photo of a cat when none is given."),
]
ModelName = Annotated[str, typer.Option("--model", "-m", help="A name from `vizkit models`.")]
BackendNames = Annotated[
    list[str] | None,
    typer.Option("--backend", "-b", help="torch or gluon; give it twice to draw both in one figure. Default: torch."),
]
WeightsName = Annotated[str, typer.Option("--weights", "-w", help="imagenet, random:SEED, or a file.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:1.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float32 or float64.")]
Threads = Annotated[int | None, typer.Option("--threads", help="Threads of one operator; default: all processors.")]
LayerName = Annotated[str | None, typer.Option("--layer", "-l", help="A name from `vizkit layers MODEL`.")]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", help="Class index, label, or all; once for all photos or once for each."),
]
InputRange = Annotated[str | None, typer.Option("--input-range", help="imagenet (normalised) or unit (0..1).")]
Fit = Annotated[str | None, typer.Option("--fit", help="crop (as torchvision) or squash (as the homework).")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="PNG, PDF, SVG, or NPZ with the raw values.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything random.")]


def _load(
    model: str, backends: list[str] | None, weights: str, device: str, dtype: str, threads: int | None
) -> list[Model]:
    from . import api

    if threads is not None:
        api.set_threads(threads)
    names: list[str | None] = list(dict.fromkeys(backends)) if backends else [None]
    loaded = [api.load(model, backend=name, weights=weights, device=device, dtype=dtype) for name in names]
    for one in loaded:
        if one.weights.note and weights == "imagenet":
            typer.echo(f"{one.backend}: {one.weights.note}", err=True)
    return loaded


def _photos(photos: list[str] | None) -> list[Any]:
    from . import images

    return list(photos) if photos else [str(images.sample())]


def _target(target: list[str] | None) -> Any:
    if not target:
        return None
    return target[0] if len(target) == 1 else target


def _write(results: Sequence[Result], draw: Callable[[Any], Any], out: Path | None, default: str) -> None:
    """One figure of all results with all their provenances inside, or one ``.npz`` a result."""
    from . import results as writing

    target = out or Path(default)
    if target.suffix == ".npz":
        for result in results:
            name = target if len(results) == 1 else target.with_stem(f"{target.stem}-{result.provenance['backend']}")
            typer.echo(f"wrote {result.save(name)}")
    else:
        made: Any = results[0].provenance
        if len(results) > 1:
            made = {"results": [result.provenance for result in results]}
        writing.save_figure(draw(results), target, made)
        typer.echo(f"wrote {target}")
    _differences(results)


def _differences(results: Sequence[Result]) -> None:
    """What the backends' values differ by, when there are several."""
    import numpy as np

    first = results[0]
    for other in results[1:]:
        if first.values.shape != other.values.shape:
            continue
        a, b = first.values.astype(np.float64), other.values.astype(np.float64)
        scale = float(np.linalg.norm(a)) or 1.0
        names = f"{other.provenance['backend']} against {first.provenance['backend']}"
        largest = float(np.abs(a - b).max() / (np.abs(a).max() or 1.0))
        typer.echo(
            f"{names}: relative L2 {np.linalg.norm(a - b) / scale:.2e}, largest difference {largest:.2e} of the maximum"
        )


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
    """Which pixels move a class's score: the photo, its map in gray and in jet, a row for each photo and backend."""
    from . import plotting
    from .techniques import saliency as technique

    results = [
        technique(
            loaded, _photos(photo), target=_target(target), input_range=input_range, mode=mode, fit=fit, seed=seed
        )
        for loaded in _load(model, backend, weights, device, dtype, threads)
    ]
    for result in results:
        for name, label in zip(result.batch.names, result.labels, strict=True):
            typer.echo(f"{result.provenance['backend']}: {name}: {label}")
    _write(results, plotting.saliency, out, f"saliency-{model}.png")


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
    from . import plotting
    from .techniques import filters as technique

    loaded = _load(model, backend, weights, device, dtype, threads)
    if text:
        for one in loaded:
            typer.echo(one.architecture())
            for name in [layer] if layer else one.filter_layers():
                typer.echo(technique(one, name).text(unit))
        return
    results = [technique(one, layer, channel=channel, limit=limit) for one in loaded]
    _write(results, plotting.filters, out, f"filters-{model}.png")


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
    from . import images, plotting, techniques

    if noise and photo:
        raise SettingError(f"--noise and the photo {photo[0]!r} exclude each other; give one of them.")
    if scale not in ("each", "common"):
        raise SettingError(f"scale={scale!r}: expected 'each' or 'common'.")
    loaded = _load(model, backend, weights, device, dtype, threads)
    reading = input_range or "imagenet"
    fitting = fit or ("squash" if noise else "crop")

    def source(one: Model) -> list[Any]:
        return [images.noise(size=min(one.spec.size), seed=seed)] if noise else _photos(photo)

    if statistics:
        chosen = [layer] if layer else None
        found = [
            techniques.activation_statistics(one, source(one), chosen, input_range=reading, fit=fitting)
            for one in loaded
        ]
        for result in found:
            typer.echo(result.table())
        _write(found, plotting.activation_statistics, out, f"statistics-{model}.png")
        return
    results = [techniques.feature_maps(one, source(one), layer, input_range=reading, fit=fitting) for one in loaded]
    _write(results, lambda all_of_them: plotting.feature_maps(all_of_them, scale), out, f"features-{model}.png")


@app.command()
def dream(
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
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: Out = None,
) -> None:
    """The picture that a unit responds to most, grown from noise by the published recipe."""
    from . import plotting
    from .techniques import dream as technique

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
        for one in _load(model, backend, weights, device, dtype, threads)
    ]
    for result in results:
        for one_unit, reached in zip(result.units, result.activation[-1], strict=True):
            name = result.provenance["backend"]
            typer.echo(f"{name}: {result.layer} unit {one_unit}: activation {reached:.4g} at {result.sizes[-1]} px")
    _write(results, plotting.dream, out, f"dream-{model}.png")


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
    from pathlib import Path as _Path

    photos = _photos(photo)
    for one in _load(model, backend, weights, device, dtype, threads):
        for name, rows in zip(photos, one.predict(photos, top, fit=fit or "crop"), strict=True):
            typer.echo(f"{one.backend}: {_Path(name).name}")
            for found in rows:
                typer.echo(f"  {found.probability:8.4f}  {found.index:4d}  {found.label}")


@app.command()
def models(backend: BackendNames = None) -> None:
    """Names of all networks, those with canonical layer names in every backend first."""
    from . import api
    from .zoo.catalog import CATALOG

    for name in backend or [found.name for found in api.backends() if found.installed]:
        known = api.models(name)
        shared = [one for one in known if one in CATALOG]
        typer.echo(f"{name}: {' '.join(shared)}")
        typer.echo(f"  under {name}'s own layer names: {' '.join(one for one in known if one not in CATALOG)}")


@app.command()
def layers(
    model: Annotated[str, typer.Argument(help="A name from `vizkit models`.")] = "vgg19",
    backend: BackendNames = None,
    weights: WeightsName = "random:0",
) -> None:
    """Every observable layer of a network: name, kind, and output shape for one image."""
    for one in _load(model, backend, weights, "cpu", "float32", None):
        typer.echo(f"{one.name} in {one.backend}: {len(one.layers)} layers")
        width = max(len(name) for name in one.layers)
        for layer in one.layers.values():
            typer.echo(f"  {layer.name:<{width}}  {layer.kind:<18}  {' x '.join(map(str, layer.shape))}")


@app.command()
def backends() -> None:
    """Which backends are installed, with versions and devices, and how to install the others."""
    from . import api

    for found in api.backends():
        if found.installed:
            versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
            typer.echo(f"{found.name}: {versions}; devices {', '.join(found.devices)}")
        else:
            typer.echo(f"{found.name}: not installed; {found.install}")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        from . import __version__

        typer.echo(f"vizkit {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one message on the error stream and exit code 2."""
    try:
        app(args=None if arguments is None else list(arguments))
    except VizkitError as error:
        typer.echo(f"vizkit: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        typer.echo(f"vizkit: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("vizkit: stopped; nothing half-written was left behind.", err=True)
        sys.exit(130)
