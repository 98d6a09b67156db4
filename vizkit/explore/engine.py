"""What the explorer shows of a network: it knows no server, and no page. Everything is called in one thread."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from ..contract.backend import Array, Model
from ..contract.errors import SettingError, UnknownNameError, one_of, unknown
from ..contract.units import find_units
from ..inputs import folders
from ..inputs.images import ImageInput
from ..reports import explain, families
from ..support.version import VERSION
from .diagram import diagram
from .gallery import Gallery, Picture
from .passes import INPUT, Passes
from .protocol import View, pack

FIRST = 100
"""Pictures that a page is told of at first."""
MOST_LABELS = 30
MOST_THUMBS, LARGEST_THUMB = 512, 256


class Engine:
    """A network in one backend, or in several, the pictures that are looked at, and what is known of them."""

    def __init__(self, models: Model | Sequence[Model], pictures: folders.Pictures | ImageInput | None = None) -> None:
        models = [models] if isinstance(models, Model) else list(models)
        names = [model.backend for model in models]
        if not models or len(set(names)) != len(names):
            raise SettingError(f"The explorer shows one network, once in each backend; got {names}.")
        if len({(model.spec.shape, model.spec.mean, model.spec.std) for model in models}) > 1:
            raise SettingError("The explorer compares networks that read pictures alike; these differ in their input.")
        if models[0].spec.extent or models[0].spec.channels not in (1, 3):
            raise SettingError(
                f"{models[0].name} reads no pictures of one or three channels, which the explorer shows."
            )
        self.passes = {model.backend: Passes(model) for model in models}
        self.gallery = Gallery(models[0].spec, None if pictures is None else folders.collect(pictures))

    @property
    def models(self) -> list[Model]:
        """The networks, the first being the one that is shown where none is named."""
        return [one.model for one in self.passes.values()]

    def of(self, view: View, name: str = "b") -> Passes:
        """The passes of the backend that a view names. Raises UnknownNameError."""
        given = view.text(name, next(iter(self.passes)))
        if given not in self.passes:
            raise unknown("backend of this explorer", given[:40], self.passes)
        return self.passes[given]

    def picture(self, view: View) -> Picture:
        """The picture of a view. Raises ImageError."""
        return self.gallery[view.text("picture")]

    def target(self, view: View) -> int | None:
        """The class that a view explains; None for the most probable one. Raises UnknownNameError."""
        given = view.given.get("target", "")
        return self.models[0].spec.index(given, self.models[0].output_shape[-1]) if given else None

    @cached_property
    def session(self) -> dict[str, Any]:
        """What a page needs to begin with."""
        model = self.models[0]
        pictures, after = self.gallery.page(0, FIRST)
        return {
            "version": VERSION,
            "model": model.name,
            "weights": model.weights.source,
            "backends": [{"name": one.backend, "device": one.device, "dtype": one.dtype} for one in self.models],
            "input": dict(zip(("height", "width"), model.spec.size, strict=True)) | {"channels": model.spec.channels},
            "labels": None if model.spec.labels is None else len(model.spec.labels),
            "classes": model.output_shape[-1] if len(model.output_shape) == 2 else None,
            "diagram": diagram(model),
            "layers": [_layer(model, name) for name in model.layers],
            "methods": self._methods(),
            "controls": list(explain.controls()),
            "pictures": pictures,
            "next": after,
            "folder": self.gallery.folder is not None,
        }

    def _methods(self) -> list[dict[str, Any]]:
        able = explain.methods(self.models)
        return [
            {"name": name, "family": family, "line": line, "settings": {}}
            for family, members in families.families().items()
            for name, line in members.items()
            if name in able
        ]

    def pictures(self, view: View) -> dict[str, Any]:
        """A page of the pictures that are listed."""
        found, after = self.gallery.page(view.number("from", 0), view.number("count", FIRST, 1000))
        return {"pictures": found, "next": after}

    def png(self, view: View) -> bytes:
        """A picture as the network sees it."""
        stream = io.BytesIO()
        Image.fromarray(self.picture(view).batch.pictures[0]).save(stream, format="PNG", compress_level=1)
        return stream.getvalue()

    def predictions(self, view: View) -> dict[str, Any]:
        """The most probable classes in every backend."""
        picture, top, edits = self.picture(view), view.number("top", 10, 1000), view.edits
        found = {name: one.network(edits).predict(picture.batch, max(top, 1)) for name, one in self.passes.items()}
        return {"backends": [{"name": name, "rows": [vars(one) for one in rows]} for name, rows in found.items()]}

    def ahead(self, view: View) -> None:
        """Compute what a click on any layer of this view will need."""
        picture, edits = self.picture(view), view.edits
        self.of(view).complete(picture.batch, picture.digest, edits)

    def labels(self, view: View) -> list[dict[str, Any]]:
        """Labels that hold some words, those that begin with them first."""
        spec, words = self.models[0].spec, view.text("q", " ").strip().lower()
        count = self.models[0].output_shape[-1]
        every = [(spec.label(i).lower(), i) for i in range(count)]
        found = sorted((not label.startswith(words), i) for label, i in every if words in label or words == str(i))
        return [{"index": i, "label": spec.label(i)} for _, i in found[:MOST_LABELS]]

    def values(self, view: View, name: str = "b") -> Array:
        """(C, h, w): the maps of the view's layer."""
        picture, layer, passes = self.picture(view), view.text("layer"), self.of(view, name)
        if layer != INPUT:
            passes.model.check_layer(layer)
        return passes.maps(picture.batch, picture.digest, view.edits, layer)

    def place(self, view: View) -> tuple[Array, int, int, int]:
        """The maps of the view's layer, its unit and a place: row and column. Raises UnknownNameError for a unit, and
        SettingError for a place, that is not there."""
        layer, unit, maps = view.text("layer"), view.number("unit"), self.values(view)
        check_unit(len(maps), layer, unit)
        y, x = view.number("y", 0), view.number("x", 0)
        if y >= maps.shape[1] or x >= maps.shape[2]:
            raise SettingError(f"The maps of {layer!r} have {maps.shape[1]} rows and {maps.shape[2]} columns.")
        return maps, unit, y, x

    def maps(self, view: View) -> bytes:
        """A layer's maps as small pictures, and how strong each is."""
        # By the strength without edits, so that a unit that is switched off stays where it is. That pass comes first,
        # so that the newest, which is kept in any case, is the one that is shown.
        plain = self.values(view.without("edits"))
        found = self.values(view) if view.edits else plain
        strength = np.abs(found).mean(axis=(1, 2))
        sort = view.text("sort", "strength")
        one_of("sort", sort[:40], ("strength", "number"))
        order = np.arange(len(found))
        if sort == "strength":
            order = np.argsort(-np.abs(plain).mean(axis=(1, 2)), kind="stable")
        start, side = view.number("from", 0), max(1, view.number("size", 64, LARGEST_THUMB))
        some = order[start : start + view.number("count", 64, MOST_THUMBS)]
        shown = found[some]
        low, high = (one(shown, axis=(1, 2)) for one in (np.min, np.max))
        arrays = {
            "order": order.astype(np.int32), "strength": strength[order].astype(np.float32),
            "thumbs": _thumbs(shown, low, high, side), "low": low, "high": high,
        }  # fmt: skip
        if "other" in view.given:
            theirs = self.values(view, "other")[some]
            arrays |= {"other_thumbs": _thumbs(theirs, low, high, side), "difference": _difference(shown, theirs)}
        return pack({"shape": list(found.shape), "sort": sort, "from": start}, arrays)

    def map(self, view: View) -> bytes:
        """One unit's map, every value of it."""
        found, unit = self.values(view), view.number("unit")
        check_unit(len(found), view.text("layer"), unit)
        one = found[unit]
        header = {"low": float(one.min()), "high": float(one.max()), "mean": float(one.mean())}
        arrays = {"map": one}
        if "other" in view.given:
            arrays["other"] = self.values(view, "other")[unit]
            header["difference"] = float(_difference(one[None], arrays["other"][None])[0])
        return pack(header, arrays)


def check_unit(count: int, layer: str, unit: int) -> None:
    """Raise UnknownNameError for a unit that a layer does not have."""
    if unit >= count:
        raise UnknownNameError(f"Layer {layer!r} has units 0 to {count - 1}; there is no {unit}.")


def _layer(model: Model, name: str) -> dict[str, Any]:
    layer, found = model.layers[name], find_units(model, name)
    about = {"name": name, "kind": layer.kind, "shape": list(layer.shape)}
    if found is None:
        return {**about, "units": 0, "places": [1, 1], "maps": False}
    return {**about, "units": found.count, "places": list(found.places), "maps": found.grid is not None}


def _difference(ours: Array, theirs: Array) -> Array:
    """(n,): the largest difference of each map, over the first's largest value."""
    most = np.abs(ours.astype(np.float64) - theirs).max(axis=(1, 2))
    scale = np.abs(ours).max(axis=(1, 2))
    found: Array = np.where(scale > 0, most / np.where(scale > 0, scale, 1), most).astype(np.float32)
    return found


def _thumbs(maps: Array, low: Array, high: Array, side: int) -> Array:
    """uint8 (n, h, w): maps from low to high, with sides of at most ``side`` by means over equal fields."""
    step = -(-max(maps.shape[1:]) // side)
    if step > 1:
        height, width = (one // step * step for one in maps.shape[1:])
        cut = maps[:, : max(height, 1), : max(width, 1)]
        rows = np.arange(0, cut.shape[1], step)
        columns = np.arange(0, cut.shape[2], step)
        sums = np.add.reduceat(np.add.reduceat(cut, rows, axis=1), columns, axis=2)
        maps = sums / (min(step, cut.shape[1]) * min(step, cut.shape[2]))
    span = np.where(high > low, high - low, 1)[:, None, None]
    return np.asarray(np.clip((maps - low[:, None, None]) / span * 255, 0, 255).round(), np.uint8)
