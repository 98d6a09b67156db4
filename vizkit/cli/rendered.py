"""What ``vizkit dream`` does beside the published recipe: units and classes by :func:`vizkit.render`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..contract.errors import SettingError
from . import options

if TYPE_CHECKING:
    from ..contract.backend import Model
    from ..results.dreams import Rendering
    from ..techniques.dreams.parametrisations import Parametrisation

PUBLISHED = "published"
RECIPES = ("fourier", "phase", "laplacian", "pixels")
PUBLISHED_ONLY = ("stages", "scale", "activation_weight", "pixel_weight", "gradient_weight", "beta", "gradient_filter")
RENDERED_ONLY = ("target", "tv_weight", "images", "every", "checkpoint")
FRAMES = 40
"""Of a film for which nobody said how many."""
MOVING = (".gif", ".mp4")

Images = Annotated[
    Path | None,
    typer.Option("--images", help="A folder of real pictures among which each activation is placed."),
]


def was_given(context: typer.Context, name: str) -> bool:
    """Whether the user wrote the option, be it with its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def real_pictures(folder: Path | None) -> list[Any] | None:
    """The readable images of a folder; what cannot be read is told and left out."""
    if folder is None:
        return None
    from ..inputs import folders

    found = folders.readable(folders.find(folder))
    for one in found.skipped:
        typer.echo(f"left out: {one.name}: {one.reason}", err=True)
    return list(found.items)


@dataclass(frozen=True)
class Rendered:
    """A rendering as the command line asks for it; ``told`` are steps, lr and size, those that the user gave."""

    recipe: str
    layer: str | None
    unit: Sequence[int] | None
    target: Sequence[str] | None
    tv_weight: float | None
    images: Path | None
    every: int | None
    checkpoint: Path | None
    seed: int
    told: Mapping[str, Any]

    def check(self, out: Path | None, backends: Sequence[str] | None) -> None:
        """Raise SettingError for what makes no sense together, before anything is loaded."""
        if self.target and (self.layer or self.unit):
            raise SettingError("--target asks for a class, --layer and --unit for a unit; give one of the two.")
        if self.target and self.recipe != RECIPES[0]:
            raise SettingError(f"--target is rendered as fourier; --recipe {self.recipe} is for units.")
        if out is not None and out.suffix in MOVING and backends is not None and len(set(backends)) > 1:
            raise SettingError(f"--out {out}: a film is of one backend; give --backend once.")

    def write(self, models: Sequence[Model], out: Path | None, name: str) -> None:
        """Render in every backend, say what was reached, and write the figure or the film."""
        from .. import draw as plotting

        moving = out is not None and out.suffix in MOVING
        if moving and self.every is None:
            from ..techniques import class_pictures, render

            usual = inspect.signature(class_pictures if self.target else render).parameters["steps"].default
            self = replace(self, every=max(1, self.told.get("steps", usual) // FRAMES))
        shown = real_pictures(self.images)
        results = [self._render(model, shown) for model in models]
        for result in results:
            for item, title in enumerate(result.titles):
                said = result.evidence.text(item).replace("\n", "; ")
                typer.echo(f"{result.provenance['backend']}: {title}: {said}")
        if moving and out is not None:
            typer.echo(f"wrote {results[0].save(out)}")
        else:
            options.write(results, plotting.rendering, out, f"dream-{name}.png")

    def _render(self, model: Model, shown: list[Any] | None) -> Rendering:
        from ..techniques import class_pictures, render
        from ..techniques.dreams.objectives import unit
        from ..techniques.dreams.recipe import DEFAULT_UNIT, default_layer
        from ..techniques.dreams.regularisers import total_variation

        checkpoint = self.checkpoint
        if checkpoint is not None:
            checkpoint = checkpoint.with_stem(f"{checkpoint.stem}-{model.backend}")
        common: dict[str, Any] = {"seed": self.seed, "every": self.every, "checkpoint": checkpoint, "images": shown}
        if self.target:
            penalty: dict[str, Any] = {} if self.tv_weight is None else {"tv_weight": self.tv_weight}
            return class_pictures(model, list(self.target), **common, **penalty, **self.told)
        layer = self.layer or default_layer(model)
        model.check_layer(layer)
        units = list(self.unit or [DEFAULT_UNIT if model.layers[layer].shape[1] > DEFAULT_UNIT else 0])
        objective = unit(layer, units)
        if self.tv_weight:
            objective = objective - self.tv_weight * total_variation()
        told = {name: value for name, value in self.told.items() if name != "size"}
        titles = [f"{layer} unit {one}" for one in units]
        shape = self._parametrisation(model)
        return render(model, objective, parametrisation=shape, titles=titles, **common, **told)

    def _parametrisation(self, model: Model) -> Parametrisation:
        from ..techniques.dreams import parametrisations as known

        kinds: dict[str, type[Parametrisation]] = {
            "fourier": known.Fourier,
            "phase": known.Phase,
            "laplacian": known.Laplacian,
            "pixels": known.Pixels,
        }
        return kinds[self.recipe](self.told.get("size", 128), model.spec.channels)
