"""The study as one self-contained page, with its pictures beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import results
from .. import page
from ..page import Chapter, Picture, drawn
from . import chapters, pictures
from .cells import FOLDER
from .chapters import Found
from .pairs import BACKENDS, NETWORKS, PREFIX, REFERENCE, VALUES, Row
from .pictures import Strip
from .plan import FEATURE_MAPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GENERATOR = "vizkit compare"
DPI = 80
SHOWN = 4
"""Images that a figure shows at most; the tables have all."""
ABOUT = ("technique", "model", "backend", "versions", "device", "dtype", "weights", "settings", "images")


class Book:
    """Reads cells for figures, and makes chapters of them."""

    def __init__(self, found: Found, folder: Path) -> None:
        self.found = found
        self.folder = folder / FOLDER
        self.networks = list(dict.fromkeys((one["model"], one["weights"]) for one in found["cells"]))

    def network(self, one: Mapping[str, str]) -> str:
        """A cell's network as the report names it."""
        return chapters.network(self.found, one)

    def label(self, network: tuple[str, str]) -> str:
        """A network, given as model and weights, as the report names it."""
        return self.network({"model": network[0], "weights": network[1]})

    def rows(self, relations: Sequence[str], technique: str, network: tuple[str, str] | None = None) -> list[Row]:
        """Comparisons of one technique, of one network where it is given."""
        return [
            row
            for row in self.found["comparisons"]
            if row["relation"] in relations
            and row["technique"] == technique
            and network in (None, (row["a"]["model"], row["a"]["weights"]))
        ]

    def cells(self, technique: str, network: tuple[str, str] | None = None) -> list[Row]:
        """Finished cells of one technique, of one network where it is given."""
        return [
            one
            for one in self.found["cells"]
            if one["technique"] == technique and network in (None, (one["model"], one["weights"]))
        ]

    def array(self, file: str, name: str) -> Any:
        """One array of a cell."""
        with np.load(self.folder / file) as arrays:
            return arrays[name]

    def about(self, file: str) -> dict[str, Any]:
        """What a cell says of itself."""
        made: dict[str, Any] = json.loads(str(self.array(file, results.PROVENANCE)))
        return made

    def picture(self, figure: Figure, name: str, alt: str, cells: Sequence[Row], title: str = "") -> Picture:
        """A finished picture of the page, with how the pictures of these cells were made."""
        found = [self.about(one["file"]) for one in cells]
        made = [{key: about[key] for key in ABOUT} for about in found]
        subject = ", ".join(dict.fromkeys(one["image"] for one in cells))
        return drawn(f"{name}.png", figure, alt, GENERATOR, subject, made, dpi=DPI, title=title)

    def maps(self, technique: str, network: tuple[str, str]) -> Chapter | None:
        """One technique's maps in every backend, or in one backend and float64."""
        label = self.label(network)
        cells = self.cells(technique, network)
        plain = [one for one in cells if one["dtype"] == "float32"]
        shown = plain if len({one["backend"] for one in plain}) > 1 else cells[::-1]
        rows = [row for row in self.rows((BACKENDS, REFERENCE), technique, network) if row["array"] == VALUES]
        if not rows:
            return None
        text = (
            f"The maps of {technique} on one scale for each picture, which is stated below; then their difference on "
            "the same scale, and magnified. What is white there is zero."
        )
        head = Chapter(_key(technique, label), f"{technique} of {label}", text)
        notes = [text for one in cells for text in one["warnings"]] + _targets(cells, _side)
        alt = f"Maps of {technique} for {label}: {{}}, and their differences."
        return self._side_by_side(head, pictures.beside, alt, shown, _side, rows, notes)

    def across(self, technique: str) -> list[Chapter]:
        """One technique's maps by different networks, a chapter for each backend."""
        out = []
        rows = [row for row in self.rows((NETWORKS,), technique) if row["array"] == VALUES]
        for backend in dict.fromkeys(row["a"]["backend"] for row in rows):
            own = [row for row in rows if row["a"]["backend"] == backend]
            cells = [one for one in self.cells(technique) if one["backend"] == backend and one["dtype"] == "float32"]
            shape = self.array(own[0]["b"]["file"], VALUES).shape
            same = [one for one in cells if self.array(one["file"], VALUES).shape == shape]
            text = (
                "Different networks’ maps have different units, so each has its own scale, stated below it; the "
                "differences are of maps divided by their own ends. The numbers are of raw values. Layers are not "
                "compared: they are different things in different networks."
            )
            head = Chapter(_key("networks", technique, backend), f"{technique} by network, in {backend}", text)
            notes, alt = _targets(cells, self.network), f"Maps of {technique} in {backend} by {{}}."
            out.append(self._side_by_side(head, pictures.networks, alt, same, self.network, own, notes))
        return out

    def _side_by_side(
        self,
        head: Chapter,
        draw: Callable[[Sequence[Strip], Sequence[str], bool], Figure],
        alt: str,
        cells: Sequence[Row],
        side: Callable[[Row], str],
        rows: Sequence[Row],
        notes: Sequence[str],
    ) -> Chapter:
        """A chapter of maps, with a row for each of the first images that every side has, and of their numbers."""
        names = list(dict.fromkeys(map(side, cells)))
        by = {(one["image"], side(one)): one for one in cells}
        whole = [image for image in self.found["study"]["image"] if all((image, name) in by for name in names)]
        strips, used, figures = [], [], []
        for image in whole[:SHOWN]:
            row = [by[image, name] for name in names]
            targets = {_target(one) for one in row}
            title = f"{image}\n{targets.pop()}" if len(targets) == 1 else image
            shown = self.array(row[0]["file"], "picture")
            strips.append(Strip(shown, title, [self.array(one["file"], VALUES) for one in row]))
            used += row
        if strips and len(names) > 1:
            figure = draw(strips, names, bool(self.about(used[0]["file"])["signed"]))
            figures = [self.picture(figure, head.key, alt.format(", ".join(names)), used)]
        tables = [chapters.metrics(self.found, head.title, rows)]
        return replace(head, pictures=figures, tables=tables, notes=list(dict.fromkeys(notes)))

    def layers(self, network: tuple[str, str]) -> Chapter | None:
        """The activations of one network, layer by layer."""
        label = self.label(network)
        key = _key("layers", label)
        rows = [
            row for row in self.rows((BACKENDS, REFERENCE), FEATURE_MAPS, network) if row["array"].startswith(PREFIX)
        ]
        if not rows:
            return None
        by: dict[str, dict[str, float | None]] = {}
        for row in rows:
            largest, share = by.setdefault(chapters.against(self.found, row), {}), row["numbers"]["relative_l2"]
            known = [one for one in (largest.get(row["array"]), share) if one is not None]
            largest[row["array"]] = max(known, default=None)
        names = list(dict.fromkeys(row["array"] for row in rows))
        curves = {what: [largest.get(name) for name in names] for what, largest in by.items()}
        titles = [name.removeprefix(PREFIX) for name in names]
        cells = self.cells(FEATURE_MAPS, network)
        tolerance = self.found["study"]["tolerance"]
        alt = f"Relative L2 of each layer of {label}, from the first to the last."
        figures = [self.picture(pictures.depth(titles, curves, tolerance), key, alt, cells, "Difference by depth")]
        worst = self._worst(rows, cells, label, key)
        text = (
            f"Every layer that both sides observe, in the order of computation: {len(names)} layers. "
            + " ".join(self._first(network))
            + f" A difference of exactly zero is drawn at {pictures.ZERO:g}."
        )
        tables = []
        for what in by:
            own = [row for row in rows if chapters.against(self.found, row) == what]
            tables.append(chapters.metrics(self.found, f"{what}: every layer", own, folded=True, layers=True))
        return Chapter(key, f"Layers of {label}", text, figures + worst, tables)

    def _first(self, network: tuple[str, str]) -> list[str]:
        """Where the backends part, in words."""
        out = []
        for row in self.found["divergences"]:
            if (row["a"]["model"], row["a"]["weights"]) == network:
                said = f"On {row['image']} {row['a']['backend']} and {row['b']['backend']}"
                beyond = f"part by more than {row['tolerance']:g}"
                first = row["first"]
                out.append(f"{said} never {beyond}." if first is None else f"{said} {beyond} first at {first}.")
        return out

    def _worst(self, rows: Sequence[Row], cells: Sequence[Row], label: str, key: str) -> list[Picture]:
        """The layer and channel in which the first two sides differ most, side by side."""
        relation = BACKENDS if any(row["relation"] == BACKENDS for row in rows) else REFERENCE
        flat = [row for row in rows if row["relation"] == relation and row["numbers"]["ssim"] is not None]
        if not flat:
            return []
        worst = max(flat, key=lambda row: row["numbers"]["relative_l2"] or 0.0)
        pairs_ = [row for row in flat if row["array"] == worst["array"] and _alike(row, worst)][:SHOWN]
        a, b = (self.array(worst[side]["file"], worst["array"]).astype(np.float64) for side in "ab")
        channel = int(np.abs(a - b).reshape(len(a), -1).max(axis=1).argmax())
        by = {one["file"]: one for one in cells}
        strips = [
            Strip(
                self.array(row["b"]["file"], "picture"),
                row["image"],
                [self.array(row[side]["file"], row["array"])[channel] for side in "ba"],
            )
            for row in pairs_
        ]
        names = [_side(worst["b"]), _side(worst["a"])]
        layer = worst["array"].removeprefix(PREFIX)
        figure = pictures.beside(strips, names, any(values.min() < 0 for one in strips for values in one.maps))
        title = f"{layer}, channel {channel}: the layer of planes with the largest relative L2"
        used = [by[row[side]["file"]] for row in pairs_ for side in "ba"]
        alt = f"Channel {channel} of {layer} of {label}: {' and '.join(names)}, and their difference."
        return [self.picture(figure, f"{key}-worst", alt, used, title)]


def _alike(row: Row, other: Row) -> bool:
    return all(row[side][key] == other[side][key] for side in "ab" for key in ("backend", "dtype"))


def _side(one: Mapping[str, str]) -> str:
    return one["backend"] + (" float64" if one["dtype"] == "float64" else "")


def _key(*parts: str) -> str:
    return "-".join("".join(c if c.isalnum() else "_" for c in part) for part in parts)


def _target(one: Row) -> str:
    return str(one["target"]["label"]) if one["target"] else ""


def _targets(cells: Sequence[Row], who: Callable[[Row], str]) -> list[str]:
    """A note for each image of which different classes were explained."""
    out = []
    for image in dict.fromkeys(one["image"] for one in cells):
        own = [one for one in cells if one["image"] == image and one["target"]]
        if len({one["target"]["index"] for one in own}) > 1:
            named = ", ".join(f"{_target(one)} ({who(one)})" for one in own)
            out.append(f"{image}: these maps explain different classes: {named}. Give --target to fix one.")
    return out


def build(found: Found, folder: Path, command: str) -> tuple[list[Chapter], str]:
    """All chapters, and the page's text."""
    book = Book(found, folder)
    maps = [name for name in found["study"]["technique"] if name != FEATURE_MAPS]
    made = [
        chapters.summary(found),
        *(book.layers(network) for network in book.networks),
        *(book.maps(name, network) for network in book.networks for name in maps),
        *(chapter for name in maps for chapter in book.across(name)),
        chapters.predictions(found),
        chapters.cost(found),
        chapters.methods(found),
        chapters.files(found),
    ]
    done = [chapter for chapter in made if chapter is not None]
    study = found["study"]
    lead = (
        f"{', '.join(study['model'])} in {' and '.join(study['backend'])}, on {len(study['image'])} "
        f"{'image' if len(study['image']) == 1 else 'images'}: the same weights, the same pictures, every number raw."
    )
    title = f"vizkit compare: {', '.join(study['model'])}"
    return done, page.render(title, lead, facts(found), done, command, generator=GENERATOR)


def facts(found: Found) -> list[tuple[str, str]]:
    """What the study ran on and with."""
    study, hardware = found["study"], found["hardware"]
    versions = {name: version for one in found["cells"] for name, version in one["versions"].items()}
    memory = hardware["memory_bytes"]
    hashes = {
        f"{chapters.network(found, one)} in {one['backend']}": (one["weights_sha256"], one["parameters"])
        for one in found["cells"]
    }
    notes = {f"{one['backend']}: {one['note']}" for one in found["cells"] if one["note"]}
    return [
        ("processor", f"{hardware['processor']}, {hardware['cores']} processors"),
        ("memory", "unknown" if memory is None else f"{memory / 2**30:.1f} GiB"),
        ("system", hardware["system"]),
        ("threads", str(study["threads"])),
        ("device", study["device"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        *((f"weights of {name}", f"SHA-256 {digest}; {count:,} values") for name, (digest, count) in hashes.items()),
        *((f"file {name}", f"SHA-256 {digest}") for name, digest in found["weights_files"].items()),
        *((f"image {name}", f"SHA-256 {digest}") for name, digest in found["images"].items()),
        ("images as input", f"fit {study['fit']}, range {study['input_range']}"),
        *(("note", note) for note in sorted(notes)),
    ]
