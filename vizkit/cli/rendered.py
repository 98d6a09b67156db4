"""What ``vizkit dream`` does beside the published recipe: units and classes by :func:`vizkit.render`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..contract.errors import SettingError
from . import options
from .options import Call

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
    Path | None, Option("--images", help="A folder of real pictures among which each activation is placed.")
]


def real_pictures(folder: Path | None) -> list[Any] | None:
    """The readable images of a folder; what cannot be read is told and left out."""
    if folder is None:
        return None
    from ..inputs import folders

    found = folders.readable(folders.find(folder))
    for one in found.skipped:
        typer.echo(f"left out: {one.name}: {one.reason}", err=True)
    return list(found.items)


def is_film(call: Call, out: Path | None) -> bool:
    """Whether frames are to be written. Raises SettingError where they would be of several backends."""
    moving = out is not None and out.suffix in MOVING
    if moving and len(set(call.given["backend"] or [])) > 1:
        raise SettingError(f"--out {out}: a film is of one backend; give --backend once.")
    return moving


@dataclass(frozen=True)
class Rendered:
    """A rendering as the command line asks for it."""

    call: Call
    recipe: str
    layer: str | None
    unit: Sequence[int] | None
    target: Sequence[str] | None
    every: int | None

    def write(self, out: Path | None) -> None:
        """Render in every backend, say what was reached, and write the figure or the film.

        Raises SettingError, before anything is loaded, for what makes no sense together.
        """
        if self.target and (self.layer or self.unit):
            raise SettingError("--target asks for a class, --layer and --unit for a unit; give one of the two.")
        if self.target and self.recipe != RECIPES[0]:
            raise SettingError(f"--target is rendered as fourier; --recipe {self.recipe} is for units.")
        moving = is_film(self.call, out)
        from .. import draw as plotting
        from ..techniques import class_pictures, render

        models = self.call.load()
        every = self.every
        if moving and every is None:
            usual = inspect.signature(class_pictures if self.target else render).parameters["steps"].default
            every = max(1, (self.call.given["steps"] or usual) // FRAMES)
        common = {"every": every, "images": real_pictures(self.call.given["images"])}
        results = [self._render(model, common) for model in models]
        for result in results:
            for item, title in enumerate(result.titles):
                said = result.evidence.text(item).replace("\n", "; ")
                typer.echo(f"{result.provenance['backend']}: {title}: {said}")
        if moving and out is not None:
            typer.echo(f"wrote {results[0].save(out)}")
        else:
            options.write(results, plotting.rendering, out, f"dream-{self.call.given['model']}.png")

    def _render(self, model: Model, common: dict[str, Any]) -> Rendering:
        from ..techniques import class_pictures, render
        from ..techniques.dreams.objectives import unit
        from ..techniques.dreams.recipe import DEFAULT_UNIT, default_layer
        from ..techniques.dreams.regularisers import total_variation

        given = self.call.given
        if given["checkpoint"] is not None:
            common = common | {"checkpoint": options.apart(given["checkpoint"], model.backend, 2)}
        if self.target:
            return class_pictures(model, list(self.target), **self.call.settings(class_pictures) | common)
        layer = self.layer or default_layer(model)
        model.check_layer(layer)
        units = list(self.unit or [DEFAULT_UNIT if model.layers[layer].shape[1] > DEFAULT_UNIT else 0])
        objective = unit(layer, units)
        if given["tv_weight"]:
            objective = objective - given["tv_weight"] * total_variation()
        titles = [f"{layer} unit {one}" for one in units]
        shape = self._parametrisation(model)
        settings = self.call.settings(render) | common
        return render(model, objective, parametrisation=shape, titles=titles, **settings)

    def _parametrisation(self, model: Model) -> Parametrisation:
        from ..techniques.dreams import parametrisations as known

        kinds: dict[str, type[Parametrisation]] = {
            "fourier": known.Fourier,
            "phase": known.Phase,
            "laplacian": known.Laplacian,
            "pixels": known.Pixels,
        }
        return kinds[self.recipe](self.call.given["size"] or 128, model.spec.channels)
