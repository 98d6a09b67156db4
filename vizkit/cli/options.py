"""Options that several commands share, and what the commands do with them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option
from typer.models import ArgumentInfo

from .. import results as writing
from ..contract.backend import Model
from ..contract.errors import UnknownNameError
from ..results.base import Result
from ..support.version import VERSION
from ..zoo import loading as api
from ..zoo import own

app = typer.Typer(
    name="vizkit",
    help="CNN visualisation, written once and proved equal on MXNet Gluon and PyTorch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"vizkit {VERSION}")
        raise typer.Exit


Photos = Annotated[
    list[str] | None,
    Argument(metavar="[PHOTO]...", help="Image files, or folders of them; the bundled photo of a cat when none."),
]
MODEL = "A name from `vizkit models`, or FILE.py:NAME: what a function of your file gives, or a Model in it."
ModelName = Annotated[str, Option("--model", "-m", help=MODEL)]
Photo = Annotated[str | None, Argument(metavar="[PHOTO]", help="An image; the bundled cat without.")]
BackendNames = Annotated[
    list[str] | None,
    Option("--backend", "-b", help="One of `vizkit backends`; give two for one figure of both. Default: torch."),
]
Backends = Annotated[
    list[str] | None, Option("--backend", "-b", help="One of `vizkit backends`; repeat. Default: all installed.")
]
WeightsName = Annotated[str, Option("--weights", "-w", help="imagenet, torchvision, gluon, random:SEED, or a file.")]
Device = Annotated[str, Option(help="cpu, cuda or cuda:1.")]
Dtype = Annotated[str, Option(help="float32, float64, bfloat16 or, on a GPU, tf32 (fast and rough).")]
Threads = Annotated[int | None, Option(help="Threads of one operator; default: all processors.")]
LayerName = Annotated[str | None, Option("--layer", "-l", help="A name from `vizkit layers MODEL`.")]
NeuronName = Annotated[
    str | None,
    Option(help="A unit in the place of a target: LAYER:17, or LAYER:17@3,4 at one place of its map."),
]
Targets = Annotated[
    list[str] | None,
    Option(
        "--target",
        "-t",
        help="Class index, label, or all; once for all photos or once for each. Of a segmentation also "
        "LABEL@ROW,COLUMN or LABEL@LEFT,TOP,RIGHT,BOTTOM or LABEL@MASK.png; 'cat - dog' is a difference.",
    ),
]
InputRange = Annotated[str | None, Option(help="imagenet (normalised) or unit (0..1).")]
Fit = Annotated[str | None, Option(help="crop (as torchvision) or squash (as the homework).")]
Out = Annotated[Path | None, Option("--out", "-o", help="PNG, PDF, SVG, or NPZ with the raw values.")]
Seed = Annotated[int, Option(help="Of everything random.")]
Workers = Annotated[
    int | None,
    Option(help="Processes that share the work, each with its share of the processors or one GPU."),
]
Scheduler = Annotated[str | None, Option(help="A Dask scheduler whose workers do the work: tcp://HOST:8786.")]
CREW = {"workers": (Workers, None), "scheduler": (Scheduler, None)}
"""Options of every command that walks a folder or a plan: who does the work, which changes no result."""
WHICH = {"backend": (BackendNames, None), "weights": (WeightsName, "imagenet")}
MACHINE = {"device": (Device, "cpu"), "dtype": (Dtype, "float32"), "threads": (Threads, None)}
"""Options of every command that loads networks, with their defaults."""


@dataclass(frozen=True)
class Call:
    """One call of a command: all its options by name."""

    given: dict[str, Any]
    context: typer.Context

    def wrote(self, name: str) -> bool:
        """Whether the user wrote the option, be it with its default."""
        source = self.context.get_parameter_source(name)
        return source is not None and source.name != "DEFAULT"

    def set_threads(self) -> None:
        """As many threads of one operator as the user asked for."""
        if self.given.get("threads") is not None:
            api.set_threads(self.given["threads"])

    @property
    def name(self) -> str:
        """What files are named after the network."""
        found = own.of(self.given["model"])
        return self.given["model"].replace("/", "-") if found is None else found.stem

    def load(self) -> list[Model]:
        """The network in each backend that was named."""
        self.set_threads()
        names: list[str | None] = list(dict.fromkeys(self.given["backend"] or [None]))
        weights = self.given["weights"]
        machine: dict[str, Any] = {name: self.given.get(name, MACHINE[name][1]) for name in ("device", "dtype")}
        users = own.of(self.given["model"])
        if users is not None:
            loaded = users.load(names, {name: self.given[name] for name in own.ASKED[1:] if self.wrote(name)})
        else:
            try:
                loaded = [api.load(self.given["model"], backend=name, weights=weights, **machine) for name in names]
            except UnknownNameError as error:
                raise UnknownNameError(f"{error} A network of your own: FILE.py:NAME.") from None
        for one in loaded:
            if one.weights.note and weights == "imagenet":
                typer.echo(f"{one.backend}: {one.weights.note}", err=True)
        return loaded

    @property
    def crew(self) -> dict[str, Any]:
        """Who does the work, of a command with :data:`CREW`."""
        return {name: self.given[name] for name in CREW}

    def settings(self, function: Callable[..., Any]) -> dict[str, Any]:
        """The options that ``function`` takes under the same names, as keywords alone; without those not given, for
        which it has a default."""
        known = [one.name for one in inspect.signature(function).parameters.values() if one.kind is one.KEYWORD_ONLY]
        return {name: self.given[name] for name in known if self.given.get(name) not in (None, [])}


Options = Mapping[str, tuple[Any, Any]]


def command(
    model: str | None = None, *, networks: bool = True, more: Options | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function, whose first parameter is the :class:`Call` and whose others are the options.

    With ``networks`` it gets :data:`WHICH` after its arguments, and ``more`` and :data:`MACHINE` before ``--out``,
    where it lacks them; ``model`` is the network where none is named.
    """

    def added(options: Options, own: list[inspect.Parameter]) -> list[inspect.Parameter]:
        there = [one.name for one in own]
        return [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
            if name not in there
        ]

    def registered(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function, eval_str=True)
        own = [one.replace(kind=one.KEYWORD_ONLY) for one in signature.parameters.values()][1:]
        every = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context), *own]
        if networks:
            arguments = sum(isinstance(one.annotation.__metadata__[0], ArgumentInfo) for one in own)
            end = next((k for k, one in enumerate(own) if one.name == "out"), len(own))
            which = added({"model": (ModelName, model), **WHICH}, own)
            every[1:] = [
                *own[:arguments],
                *which,
                *own[arguments:end],
                *added({**(more or {}), **MACHINE}, own),
                *own[end:],
            ]

        @wraps(function)
        def run(context: typer.Context, **given: Any) -> None:
            function(Call(given, context), **{one.name: given[one.name] for one in own})

        del run.__wrapped__
        run.__signature__ = signature.replace(parameters=every)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in every}
        return app.command()(run)

    return registered


def made(results: Sequence[Result]) -> Any:
    return results[0].provenance if len(results) == 1 else {"results": [result.provenance for result in results]}


def apart(path: Path, backend: str, count: int) -> Path:
    """A file's name with the backend's in it, where there are several backends."""
    return path if count == 1 else path.with_stem(f"{path.stem}-{backend}")


def save(results: Sequence[Any], target: Path) -> None:
    """A file for each result."""
    for result in results:
        typer.echo(f"wrote {result.save(apart(target, result.provenance.get('backend', ''), len(results)))}")


def write(results: Sequence[Result], draw: Callable[[Any], Any], out: Path | None, default: str) -> None:
    """One figure of all results with all their provenances inside, or one ``.npz`` a result."""
    target = out or Path(default)
    if target.suffix == ".npz":
        save(results, target)
    else:
        writing.save_figure(draw(results), target, made(results))
        typer.echo(f"wrote {target}")
    differences(results)


def differences(results: Sequence[Result]) -> None:
    """What the backends' values differ by, when there are several."""
    from ..reports.page import difference

    if len(results) < 2:
        return
    what, first = results[0].comparable()
    named = [(str(result.provenance["backend"]), result.comparable()[1]) for result in results]
    for one in difference(what, [(name, values) for name, values in named if values.shape == first.shape]):
        sizes = f"relative L2 {one.l2:.2e}, largest difference {one.largest:.2e} of the maximum"
        typer.echo(f"{one.against}, {what}: {sizes}")


def tell(note: str) -> None:
    """A message beside the output."""
    typer.echo(note, err=True)


def opened(page: Path) -> None:
    """Where a page lies, for the user to open."""
    typer.echo(f"wrote {page.resolve()}; open it in a browser: {page.resolve().as_uri()}")
