"""A view as a picture to keep, and as the Python that makes it."""

from __future__ import annotations

from ..contract.backend import AS_GIVEN, Model
from ..contract.errors import SettingError
from ..draw import figure
from ..reports.explain import explain
from ..results.base import Result
from ..results.files import figure_bytes, provenance
from ..results.overlay import Overlay
from ..techniques import feature_maps, receptive_field
from .engine import Engine
from .passes import INPUT, Passes
from .protocol import View

MOST_METHODS = 24
BUNDLED = ("bundled", "imagenet")
"""Weights that :func:`vizkit.load` takes where none are named."""


def _kind(view: View) -> str:
    """What a view shows: "explain", "field", "maps" or "predict"."""
    tab = view.given.get("tab", "")
    if tab == "ablate":
        return "predict"
    if view.given.get("methods") and tab in ("", "explain"):
        return "explain"
    if view.given.get("layer", INPUT) != INPUT and tab != "explain":
        return "field" if tab != "layer" and {"unit", "y", "x"} <= view.given.keys() else "maps"
    return "predict"


def _methods(view: View) -> list[str]:
    found = [one for one in view.text("methods").split(",") if one]
    if len(found) > MOST_METHODS:
        raise SettingError(f"One figure holds at most {MOST_METHODS} methods; {len(found)} are ticked.")
    return found


def _networks(engine: Engine, view: View) -> list[Passes]:
    """The backend that a view shows, and the one that it is compared with."""
    found = [engine.of(view)]
    if view.given.get("other"):
        found.append(engine.of(view, "other"))
    return list(dict.fromkeys(found))


def save(engine: Engine, view: View) -> bytes:
    """The view's PNG, with its provenance inside."""
    picture, kind = engine.picture(view), _kind(view)
    models = [one.network(view.edits) for one in _networks(engine, view)]
    if kind == "explain":
        target = engine.target(view)
        return explain(models, picture.batch, _methods(view), [target])._repr_png_()
    if kind == "predict":
        batch, rows = picture.batch, [vars(one) for one in models[0].predict(picture.batch, 10)]
        answered = provenance(models[0], "predict", {"predictions": rows}, batch)
        return Overlay((batch.pictures[0],), batch.names, answered)._repr_png_()
    results: list[Result] = []
    for model in models:
        layer = view.text("layer")
        if kind == "maps":
            unit = None if view.given.get("tab") == "layer" or "unit" not in view.given else view.number("unit")
            results.append(feature_maps(model, picture.batch, layer, unit=unit))
        else:
            at = (view.number("y"), view.number("x")) if model.grid(layer) is not None else None
            results.append(receptive_field(model, picture.batch, layer, unit=view.number("unit"), at=at, noise=0))
    made = [one.provenance for one in results]
    return figure_bytes(figure(results), made[0] if len(made) == 1 else {"results": made})


def line(engine: Engine, view: View) -> str:
    """The Python that makes what :func:`save` gives."""
    kind, passes = _kind(view), _networks(engine, view)
    picture = engine.picture(view) if "picture" in view.given else engine.gallery["0"]
    names = ["model"] if len(passes) == 1 else ["model", "other"]
    lines = ["import vizkit", ""]
    for name, one in zip(names, passes, strict=True):
        lines += _loaded(name, one.model)
        if view.edits:
            edits = ", ".join(f"({e.layer!r}, {e.unit}, {e.amount})" for e in view.edits)
            lines.append(f"{name} = vizkit.edited({name}, [{edits}])")
    lines.append(f"picture = {picture.source}")
    fit = "" if picture.fit == "crop" else f", fit={picture.fit!r}"
    layer = view.given.get("layer", "")
    if kind == "explain":
        several = names[0] if len(names) == 1 else f"[{', '.join(names)}]"
        call = f"vizkit.explain({several}, picture, {_methods(view)!r}, [{engine.target(view)!r}]{fit})"
        return "\n".join([*lines, f"found = {call}", 'found.save("explain.png")'])
    for name in names:
        if kind == "predict":
            lines.append(f"print({name}.predict(picture, 10{fit}))")
        elif kind == "maps":
            shown = view.given.get("tab") != "layer" and "unit" in view.given
            unit = f", unit={view.number('unit')}" if shown else ""
            lines.append(f'vizkit.feature_maps({name}, picture, {layer!r}{unit}{fit}).save("{name}-maps.png")')
        else:
            place = f"unit={view.number('unit')}, at=({view.number('y')}, {view.number('x')}), noise=0"
            lines.append(f'vizkit.receptive_field({name}, picture, {layer!r}, {place}{fit}).save("{name}-field.png")')
    return "\n".join(lines)


def _loaded(name: str, model: Model) -> list[str]:
    if model.weights.source == AS_GIVEN:
        where = f"{model.named} gives it" if model.named else "you gave it to vizkit.wrap"
        return [f"{name} = ...  # your own {model.name}, as {where}"]
    more = [f"backend={model.backend!r}"]
    source = model.weights.source.replace("\\", "/").rpartition("/")[2]  # without the folders of this machine
    more += [] if model.weights.source in BUNDLED else [f"weights={source!r}"]
    more += [f"dtype={model.dtype!r}"] if model.dtype != "float32" else []
    more += [f"device={model.device!r}"] if model.device != "cpu" else []
    return [f"{name} = vizkit.load({model.name!r}, {', '.join(more)})"]
