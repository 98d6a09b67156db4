"""The tasks that jobs run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import techniques
from ..contract.backend import Array, Model
from ..contract.errors import SettingError, VizkitError
from ..contract.units import units_of
from ..evaluate import pointing_game, relevance_mass, relevance_rank
from ..inputs import images
from ..reports import explain as reports
from ..reports import families
from ..results.attribution import Attribution
from ..techniques import render, top_patches
from ..techniques.dreams.objectives import unit as unit_of
from ..techniques.dreams.parametrisations import Fourier
from ..zoo.shapes import TOLERANCE
from .engine import Engine, check_unit
from .gallery import Picture
from .passes import Passes
from .protocol import View, pack

MOST_METHODS, MOST_STEPS, MOST_SIDE, MOST_PATCHES = 64, 1024, 512, 64
FRAMES = 48
"""Pictures of a dream that are sent while it grows."""
METRICS: Mapping[str, Callable[[Attribution, Array], Array]] = {
    "pointing_game": lambda found, mask: pointing_game(found, mask, tolerance=TOLERANCE),
    "relevance_mass": relevance_mass,
    "relevance_rank": relevance_rank,
}
"""What a map is judged by where it is known which pixels are the object; more is better."""
Give = Callable[..., None]


@dataclass(frozen=True)
class Task:
    """Something that takes long. ``run(give, fail, breathe)`` does it: ``give(frame, title=...)`` each result,
    ``fail(error)`` what could not be done, and ``breathe`` between steps of its own; ``progress(name, done, total)``
    says how much of the whole is done, and what the whole is, at a step of a loop within."""

    run: Callable[[Give, Give, Callable[[], None]], None]
    progress: Callable[[str, int, int | None], tuple[float, float]]


def task_of(engine: Engine, body: Mapping[str, Any]) -> Task:
    """The task that a page describes. Raises SettingError for anything that is none, or too large."""
    kind, methods = body.get("kind"), body.get("methods", [])
    plain = {str(key): str(value) for key, value in body.items() if isinstance(value, str | int) and value != ""}
    if body.get("edits"):
        plain["edits"] = body["edits"] if isinstance(body["edits"], str) else json.dumps(body["edits"])
    view = View(plain)
    if kind == "explain":
        if not isinstance(methods, list) or not 0 < len(methods) <= MOST_METHODS:
            raise SettingError(f"methods is a list of 1 to {MOST_METHODS} names.")
        known = {**reports.methods(), **reports.controls()}
        for name in methods:
            if not isinstance(name, str) or name not in known:
                raise SettingError(f"There is no method {str(name)[:40]!r}.")
        return _explain(engine.of(view), engine.picture(view), view, methods, engine.target(view))
    if kind in ("dream", "patches"):
        layer, unit, passes = view.text("layer"), view.number("unit"), engine.of(view)
        check_unit(units_of(passes.model, layer).count, layer, unit)
        if kind == "patches":
            return _patches(engine, passes.model, layer, unit, max(1, view.number("k", 9, MOST_PATCHES)))
        steps, size = max(1, view.number("steps", 128, MOST_STEPS)), max(16, view.number("size", 128, MOST_SIDE))
        return _dream(passes.model, layer, unit, steps, size, view.number("seed", 0))
    raise SettingError("kind is 'explain', 'dream' or 'patches'.")


def _explain(passes: Passes, picture: Picture, view: View, methods: Sequence[str], target: int | None) -> Task:
    """Maps of several methods, each with scores beside the controls' where the object's pixels are known."""
    done = 0

    def one(network: Model, name: str) -> Attribution:
        return reports.explain(network, picture.batch, [name], [target]).results[0][0][0]

    def run(give: Give, fail: Give, breathe: Callable[[], None]) -> None:
        nonlocal done
        network = passes.network(view.edits)
        family = {name: said for said, members in families.families().items() for name in members}
        controls: dict[str, Attribution] | None = None
        for name in methods:
            breathe()
            begun = time.perf_counter()
            try:
                found = one(network, name)
                if controls is None:
                    known = reports.controls() if picture.mask is not None else ()
                    controls = {other: one(network, other) for other in known}
            except VizkitError as error:
                fail(str(error), method=name)
            else:
                header = {
                    "method": name, "family": family.get(name, ""), "signed": found.signed, "layer": found.layer,
                    "target": {"index": found.targets[0], "label": found.labels[0]},
                    "line": families.believe(getattr(techniques, name)),
                    "seconds": round(time.perf_counter() - begun, 3), "scores": _scores(found, controls, picture.mask),
                    "provenance": dict(found.provenance), "finite": bool(np.isfinite(found.values[0]).all()),
                }  # fmt: skip
                give(pack(header, {"map": np.nan_to_num(found.values[0])}), title=name, method=name)
            done += 1

    def progress(name: str, at: int, total: int | None) -> tuple[float, float]:
        inner = at / total if total and name != "explain" else 0.0  # the part of a method counts
        return done + min(inner, 1.0), len(methods)

    return Task(run, progress)


def _scores(found: Attribution, controls: Mapping[str, Attribution], mask: Array | None) -> dict[str, Any] | None:
    if mask is None:
        return None
    return {
        name: {
            "value": float(judge(found, mask[None])[0]),
            "better": "higher",
            "controls": {one: float(judge(other, mask[None])[0]) for one, other in controls.items()},
        }
        for name, judge in METRICS.items()
    }


def _dream(model: Model, layer: str, unit: int, steps: int, size: int, seed: int) -> Task:
    """A picture that a unit responds to, sent while it grows, with the unit's mean at the network's own size."""
    ops, grid = model.ops, model.grid(layer)

    def run(give: Give, fail: Give, breathe: Callable[[], None]) -> None:
        def frame(step: int, pictures: Array) -> None:
            batch = images.prepare(pictures[0], model.spec, fit="squash")
            value = model.forward(ops.asarray(batch.tensor), (layer,))[layer]
            maps = ops.numpy(value if grid is None else grid.maps(ops, value))
            header = {"step": step, "activation": float(maps[0, unit].mean())}
            give(pack(header, {"picture": pictures[0]}), title=f"step {step}", step=step, of=steps)
            breathe()

        render(
            model, unit_of(layer, unit), steps=steps, seed=seed,
            parametrisation=Fourier(size, channels=model.spec.channels), every=max(1, steps // FRAMES),
            on_frame=frame,
        )  # fmt: skip

    return Task(run, lambda name, done, total: (done, steps))


def _patches(engine: Engine, model: Model, layer: str, unit: int, k: int) -> Task:
    """What a unit responds to most, among the folder's pictures, or the bundled ones where there is no folder."""

    def run(give: Give, fail: Give, breathe: Callable[[], None]) -> None:
        pictures, fit = engine.gallery.searched()
        found = top_patches(model, pictures, layer, unit, k=k, fit=fit)
        rows = found.records()
        header = {
            "names": [row["picture"] for row in rows], "activations": [row["activation"] for row in rows],
            "boxes": [[row[side] for side in ("top", "left", "bottom", "right")] for row in rows],
            "count": len(pictures), "skipped": len(found.provenance["images"]["skipped"]),
        }  # fmt: skip
        give(pack(header, {"patches": np.stack(found.patches(0))}), title=f"{layer}[{unit}]")

    return Task(run, lambda name, done, total: (done, total or 1))
