"""The image patches to which units respond most, over a folder of any size."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import images
from ..backend import Array, Model
from ..errors import SettingError, ShapeError
from ..folders import Pictures, collect, stream
from ..images import Batch, ImageInput
from ..results import Result, provenance
from ..zoo.spec import InputSpec
from ._window import window

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUTSIDE = 127
"""Gray of what a receptive field sees beyond the picture's edge."""
SHOWN = 24
"""Units that a figure shows at most."""


@dataclass(frozen=True, repr=False)
class TopPatches(Result):
    """``values`` (R, k), in the model's dtype: the highest activations of each of R units, in falling order; -inf where
    there were fewer images. ``units`` (layer, unit) name the rows. ``places`` (R, k) are the images' places in the
    list, -1 for none; ``positions`` (R, k, 2) row and column of the maximum in the unit's map; ``boxes`` (R, k, 4) the
    receptive field there: top, left, bottom, right in pixels of the network's input, beyond its edges where the field
    is."""

    units: tuple[tuple[str, int], ...]
    places: Array
    positions: Array
    boxes: Array
    pictures: Pictures
    spec: InputSpec

    def arrays(self) -> dict[str, Array]:
        names = np.array([[self.pictures.names[place] if place >= 0 else "" for place in row] for row in self.places])
        units = {"layers": np.array([layer for layer, _ in self.units]), "units": np.array([u for _, u in self.units])}
        found = {"values": self.values, "places": self.places, "positions": self.positions, "boxes": self.boxes}
        return {**found, "names": names, **units}

    def records(self) -> list[dict[str, Any]]:
        """A row a patch, by unit, the best first."""
        return [
            {"layer": layer, "unit": unit, "place": k + 1, "picture": self.pictures.names[self.places[row, k]]}
            | {"activation": float(self.values[row, k])}
            | dict(zip(("top", "left", "bottom", "right"), self.boxes[row, k].tolist(), strict=True))
            for row, (layer, unit) in enumerate(self.units)
            for k in range(self.values.shape[1])
            if self.places[row, k] >= 0
        ]

    def row(self, layer: str, unit: int) -> int:
        """The row of a unit. Raises SettingError when it was not asked for."""
        if (layer, unit) not in self.units:
            raise SettingError(f"Unit {unit} of {layer!r} is not among the {len(self.units)} units of this result.")
        return self.units.index((layer, unit))

    def names(self, row: int) -> list[str]:
        """The images' names of a row, best first."""
        return [self.pictures.names[place] for place in self.places[row] if place >= 0]

    def batch(self, row: int) -> Batch:
        """The whole pictures of a row, best first, read again."""
        made = self.provenance["settings"]
        items = [self.pictures.items[place] for place in self.places[row] if place >= 0]
        return images.prepare(items, self.spec, fit=made["fit"], input_range=made["input_range"])

    def patches(self, row: int) -> list[Array]:
        """The patches of a row, best first, uint8 (h, w, 3), read again; gray beyond the picture's edge."""
        return [crop(one, box) for one, box in zip(self.batch(row).pictures, self.boxes[row], strict=False)]

    def figure(self) -> Figure:
        """The patches of the first 24 units, one unit a row, each row headed by its best activation."""
        from .. import plotting

        shown = self.units[:SHOWN]
        count = self.values.shape[1]
        figure = plotting.new(0.8 * count + 1.6, 0.84 * len(shown) + 0.5)
        axes = figure.subplots(len(shown), count, squeeze=False)
        for row, (layer, unit) in enumerate(shown):
            for axis in axes[row]:
                axis.set_axis_off()
            for axis, patch in zip(axes[row], self.patches(row), strict=False):
                plotting.panel(axis, patch)
                axis.set_axis_on()
            text = f"{layer}\nunit {unit}\n{self.values[row, 0]:.3g}"
            axes[row, 0].set_axis_on()
            axes[row, 0].set_ylabel(text, fontsize=7, rotation=0, ha="right", va="center", color=plotting.GRAY)
        more = f", the first {len(shown)} of {len(self.units)} units" if len(shown) < len(self.units) else ""
        figure.suptitle(f"{plotting.origin(self)}: patches of highest activation{more}", fontsize=9)
        return figure


def crop(picture: Array, box: Array, fill: int | float = OUTSIDE) -> Array:
    """The part of (H, W, ...) in ``box`` (top, left, bottom, right), ``fill`` where it lies outside."""
    top, left, bottom, right = (int(side) for side in box)
    out = np.full((bottom - top, right - left, *picture.shape[2:]), fill, picture.dtype)
    y0, y1 = max(top, 0), min(bottom, picture.shape[0])
    x0, x1 = max(left, 0), min(right, picture.shape[1])
    out[y0 - top : y1 - top, x0 - left : x1 - left] = picture[y0:y1, x0:x1]
    return out


class Best:
    """The k highest maxima of each unit so far; of equal ones, that of the earlier image."""

    def __init__(self, wanted: Mapping[str, Sequence[int]], k: int, dtype: str) -> None:
        self.wanted = {layer: np.asarray(units) for layer, units in wanted.items()}
        rows = sum(len(units) for units in self.wanted.values())
        self.values = np.full((rows, k), -np.inf, dtype)
        self.places = np.full((rows, k), -1, np.int64)
        self.at = np.zeros((rows, k), np.int64)

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        maps = [activations[layer][:, units] for layer, units in self.wanted.items()]
        flat = [one.reshape(*one.shape[:2], -1) for one in maps]
        at = np.concatenate([one.argmax(axis=2) for one in flat], axis=1).T
        values = np.concatenate([one.max(axis=2) for one in flat], axis=1).T
        both = np.concatenate([self.values, values], axis=1)
        order = np.argsort(-both, axis=1, kind="stable")[:, : self.values.shape[1]]
        self.values = np.take_along_axis(both, order, axis=1)
        listed = np.broadcast_to(np.asarray(places, np.int64), values.shape)
        self.places = np.take_along_axis(np.concatenate([self.places, listed], axis=1), order, axis=1)
        self.at = np.take_along_axis(np.concatenate([self.at, at], axis=1), order, axis=1)

    def state(self) -> dict[str, Array]:
        return {"values": self.values, "places": self.places, "at": self.at}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        self.values, self.places, self.at = arrays["values"], arrays["places"], arrays["at"]


def top_patches(
    model: Model,
    pictures: Pictures | ImageInput,
    layer: str | Sequence[str],
    unit: int | Sequence[int] | None = None,
    *,
    k: int = 9,
    state: str | os.PathLike[str] | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
    batch_size: int | None = None,
) -> TopPatches:
    """What makes a unit fire: the patches of a folder's images at which it responds most (Zeiler & Fergus 2013, arXiv
    1311.2901; Girshick et al. 2014, arXiv 1311.2524).

    For unit ``u`` and image ``i`` with map ``A``: ``v = max_yx A_i[u, y, x]``; the k images of highest ``v``, each
    cropped to the receptive field of the (first) position of its maximum. One patch an image. The numbers do not depend
    on the batch size, and memory not on the number of images; files are read while the network computes.

    Args:
        model: a network.
        pictures: a folder, a list of files, or whatever :func:`vizkit.folders.collect` takes.
        layer: a layer, or several that are done in one pass.
        unit: a channel, several, or None for all.
        k: patches for each unit.
        state: a file in which the run is kept, so that it goes on where it was stopped; refused when the network, the
            folder or a setting changed.
        input_range, fit: see :func:`vizkit.images.prepare`.
        batch_size: images in one pass; None fits 1 GiB.

    Returns:
        :class:`TopPatches` with ``values`` (R, k), a row for each unit in the order of ``layer`` and ``unit``. Images
        that cannot be read are named in the provenance.

    Raises:
        ImageError, UnknownNameError, LayerError, ShapeError, SettingError, DivergedError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("shapes")
        >>> found = vizkit.top_patches(model, vizkit.zoo.shapes.sample(24, seed=1).images, "features.9", [3, 5], k=4)
        >>> found.values.shape, found.patches(0)[0].shape[2]
        ((2, 4), 3)
    """
    if k < 1:
        raise SettingError(f"k={k}: ask for at least one patch.")
    layers = [layer] if isinstance(layer, str) else list(dict.fromkeys(layer))
    wanted = {name: units_of(model, name, unit) for name in layers}
    listed = collect(pictures)
    best = Best(wanted, k, model.ops.dtype)
    passed = stream(
        model, listed, layers, best, label="patches", fit=fit, input_range=input_range, batch_size=batch_size,
        state=state, settings={"units": list(wanted.values()), "k": k},
    )  # fmt: skip
    settings = {"layer": layers, "unit": unit, "k": k, "input_range": input_range, "fit": fit}
    return assemble(model, listed, best, provenance(model, "top_patches", settings) | {"images": passed.described()})


def assemble(model: Model, pictures: Pictures, best: Best, made: Mapping[str, Any]) -> TopPatches:
    """The result of a finished pass; ``made`` is its provenance."""
    windows = {name: window(model, name) for name in best.wanted}
    named = tuple((name, int(u)) for name, units in best.wanted.items() for u in units)
    widths = np.array([windows[name].columns for name, _ in named])[:, None]
    positions = np.stack([best.at // widths, best.at % widths], axis=2)
    boxes = np.array(
        [[windows[name].box(at) for at in row] for (name, _), row in zip(named, best.at.tolist(), strict=True)]
    )
    return TopPatches(best.values, made, named, best.places, positions, boxes, pictures, model.spec)


def units_of(model: Model, layer: str, unit: int | Sequence[int] | None) -> list[int]:
    """The channels of a layer that ``unit`` means. Raises SettingError, ShapeError, UnknownNameError."""
    model.check_layer(layer)
    known = model.layers.get(layer)
    shape = model.output_shape if known is None else known.shape
    if len(shape) not in (2, 4):
        raise ShapeError(f"Layer {layer!r} gives shape {shape}; a unit is a channel of (N, C, H, W) or (N, C).")
    if unit is None:
        return list(range(shape[1]))
    units = [int(unit)] if isinstance(unit, int | np.integer) else [int(one) for one in unit]
    wrong = [one for one in units if not 0 <= one < shape[1]]
    if wrong or not units:
        raise SettingError(f"Layer {layer!r} has units 0 to {shape[1] - 1}; there is no {wrong or 'unit in []'}.")
    return list(dict.fromkeys(units))
