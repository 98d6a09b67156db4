"""Chosen views as a site of files, which a browser opens without a server."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from ..contract.backend import Model
from ..contract.errors import SettingError, VizkitError
from ..inputs.folders import Pictures
from ..inputs.images import ImageInput
from ..support.files import write_text
from . import bundle, tasks, units
from .engine import Engine
from .passes import INPUT
from .protocol import View, unpack
from .sums import sum_at

COUNT, SIDE, TOP, PATCHES = 64, 64, 10, 9
"""What the page asks for: maps at once and their sides, rows of predictions, patches."""
MOST_VIEWS = 64
FILES = ("index.html", "explore.js", "style.css", "data.js")
DEFAULT_METHODS = "saliency,gradcam"
Answer = dict[str, Any]


def export(
    models: Model | Sequence[Model],
    folder: str | os.PathLike[str],
    views: Sequence[str] = (),
    *,
    images: Pictures | ImageInput | None = None,
) -> Path:
    """Write the explorer's page with the answers that some views need: a folder that a browser opens from its file, and
    that lies on any web server, without one of its own.

    Args:
        models, images: as :func:`vizkit.explore` has them.
        folder: new, empty, or an earlier export's.
        views: what to show, each the text behind # in the explorer's address; none takes the first layer with filters,
            and an explanation of the first picture.

    Returns:
        The path of ``index.html``.

    Raises:
        SettingError for a folder with other files, or too many views; what a view cannot show raises as it does there.

    Example:
        >>> import tempfile, vizkit
        >>> from vizkit.explore.export import export
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export(vizkit.load("shapes"), folder, ["layer=features.9&unit=3&y=4&x=5&tab=unit"]).name
        'index.html'
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(one.name not in FILES for one in target.iterdir())):
        raise SettingError(f"{str(target)!r} holds other files than an export's. Give a new folder, or an empty one.")
    if len(views) > MOST_VIEWS:
        raise SettingError(f"{len(views)} views are too many for one site; it shows at most {MOST_VIEWS}.")
    engine = Engine(models, images)
    found = Answers(engine)
    texts = [found.add(one) for one in views or _usual(engine)]
    data = {"answers": found.answers, "view": texts[0], "views": texts}
    script = f"window.VIZKIT_EXPORT = {json.dumps(data, allow_nan=False, ensure_ascii=True)};\n"
    target.mkdir(parents=True, exist_ok=True)
    made = (bundle.page("data.js", "explore.js", "style.css"), bundle.bundle(), bundle.text("style.css"), script)
    for name, text in zip(FILES, made, strict=True):
        write_text(target / name, text)
    return target / FILES[0]


def _usual(engine: Engine) -> list[str]:
    model = engine.models[0]
    layer = next(iter(model.filter_layers()), next(iter(model.layers)))
    return [f"layer={layer}", f"methods={DEFAULT_METHODS}&tab=explain"]


def key(path: str, given: Mapping[str, Any]) -> str:
    """A request as its page writes it: parameters sorted, without empty ones, encoded as browsers do.

    Example:
        >>> key("map", {"unit": 3, "layer": "layer1.0/add", "edits": ""})
        'map?layer=layer1.0%2Fadd&unit=3'
    """
    known = sorted((name, str(value)) for name, value in given.items() if value not in ("", None))
    text = urlencode(known).replace("~", "%7E").replace("%2A", "*")
    return f"{path}?{text}" if text else path


class Answers:
    """What the page will ask for, by request."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.answers: dict[str, Answer] = {}
        self._json("session", {}, lambda _: engine.session)
        self._json("pictures", {"from": 0, "count": 100}, engine.pictures)

    def add(self, text: str) -> str:
        """Answer what a view needs; gives the view with all that it left out."""
        given = dict(View.of(text).given)
        tab = "explain" if given.get("methods") else "unit" if given.get("unit") else "layer"
        given = {"picture": "0", "tab": tab, **given}
        view = View(given)
        picture, edits = self._engine.picture(view).id, _plain(view)
        shown = {"picture": picture, "edits": edits}
        self._data("picture", {"picture": picture}, "png", self._engine.png)
        self._json("predictions", {**shown, "top": TOP}, self._engine.predictions)
        self._json("predictions", {"picture": picture, "top": TOP}, self._engine.predictions)
        name = self._engine.of(view).model.backend
        where = {"picture": picture, "layer": given.get("layer"), "b": name}
        if given["tab"] == "layer":
            self._maps(view, {**where, "edits": edits, "other": given.get("other")})
        elif given["tab"] == "unit":
            given |= self._unit(view, where, edits)
        elif given["tab"] == "explain":
            self._explain(view, picture, name, edits)
        if edits:
            given["edits"] = edits
        return urlencode(given)

    def _json(self, path: str, given: Mapping[str, Any], make: Callable[[View], Any]) -> Any:
        name, view = key(path, given), _view(given)
        if name not in self.answers:
            self.answers[name] = {"type": "json", "data": make(view)}
        return self.answers[name]["data"]

    def _data(self, path: str, given: Mapping[str, Any], kind: str, make: Callable[[View], bytes]) -> None:
        name = key(path, given)
        if name not in self.answers:
            self.answers[name] = {"type": kind, "data": _base64(make(_view(given)))}

    def _maps(self, view: View, where: Mapping[str, Any]) -> None:
        if view.text("layer") not in {INPUT, *(one["name"] for one in self._engine.session["layers"] if one["maps"])}:
            return
        sort, count = view.given.get("sort") or "strength", len(self._engine.values(_view(where)))
        for start in range(0, count, COUNT):
            given = {**where, "sort": sort, "from": start, "count": COUNT, "size": SIDE}
            self._data("maps", given, "frame", self._engine.maps)

    def _unit(self, view: View, where: Mapping[str, Any], edits: str) -> dict[str, str]:
        """Everything about a unit; gives its place, the first of the largest where none is named."""
        unit, engine = view.number("unit"), self._engine
        where = {**where, "unit": unit}
        self._data("map", {**where, "edits": edits, "other": view.given.get("other")}, "frame", engine.map)
        own = unpack(engine.map(_view({**where, "edits": edits})))[1]["map"]
        y, x = (int(one) for one in np.unravel_index(own.argmax(), own.shape))
        y, x = view.number("y", y), view.number("x", x)
        for at in ({"y": y, "x": x}, {"y": 0, "x": 0}):
            self._json("unit", {**where, **at}, lambda asked: units.unit(engine, asked))
        place = {**where, "y": y, "x": x}
        self._data("sum", {**place, "edits": edits}, "frame", lambda asked: sum_at(engine, asked))
        for path, given, make in (
            ("effective", place, units.effective),
            ("weights", {name: where[name] for name in ("layer", "unit", "b")}, units.weights),
        ):
            with suppress(VizkitError):  # the page says of what it lacks that it is not part of the export
                self._data(path, given, "frame", lambda asked, make=make: make(engine, asked))  # type: ignore[misc]
        self._job({"kind": "patches", "layer": where["layer"], "unit": unit, "k": PATCHES, "b": where["b"]})
        return {"y": str(y), "x": str(x)}

    def _explain(self, view: View, picture: str, name: str, edits: str) -> None:
        methods = [one for one in view.text("methods").split(",") if one]
        target = self._engine.target(view)
        if target is None:
            rows = self._engine.predictions(_view({"picture": picture, "edits": edits}))["backends"][0]["rows"]
            target = rows[0]["index"]
        self._job(
            {"kind": "explain", "picture": picture, "target": target, "methods": methods, "b": name, "edits": edits}
        )

    def _job(self, body: Mapping[str, Any]) -> None:
        body = {one: value for one, value in body.items() if value != ""}
        events: list[tuple[str, dict[str, Any]]] = []
        results: dict[str, str] = {}

        def give(frame: bytes, **header: Any) -> None:
            events.append(("result", {"n": len(results), **header}))
            results[str(len(results))] = _base64(frame)

        def fail(error: str, **header: Any) -> None:
            events.append(("error", {"error": error, **header}))

        tasks.task_of(self._engine, body).run(give, fail, lambda: None)
        plain = {one: ",".join(value) if isinstance(value, list) else value for one, value in body.items()}
        self.answers[key("jobs", plain)] = {"type": "job", "events": [*events, ("end", {})], "results": results}


def _view(given: Mapping[str, Any]) -> View:
    return View({name: str(value) for name, value in given.items() if value not in ("", None)})


def _plain(view: View) -> str:
    """A view's edits as the page writes them."""
    listed = [
        {
            "layer": one.layer, "unit": one.unit, "mode": "off" if one.amount is None else "add",
            "amount": 0 if one.amount is None else int(one.amount) if one.amount.is_integer() else one.amount,
        }
        for one in view.edits
    ]  # fmt: skip
    return json.dumps(listed, separators=(",", ":"), ensure_ascii=False) if listed else ""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
