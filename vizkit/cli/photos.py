"""Photos that a command line names, and where the pictures of them go."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import typer
from PIL import Image

from .. import results as writing
from ..contract.backend import Model
from ..contract.errors import SettingError
from ..inputs import folders, images
from ..inputs.sources import SHARDS
from ..support.crew import crew
from ..support.progress import steps_bar
from .options import made, write


def given(photos: list[str] | None) -> list[Any]:
    """The files that the user named, folders with everything below them, the pictures within shards and tables; of
    these, what cannot be read is reported and left out. The bundled photo when nothing is named."""
    if not photos:
        return [str(images.sample())]
    out: list[Any] = []
    for photo in photos:
        if not _holds(photo):
            out.append(photo)
            continue
        found = folders.readable(folders.find(photo))
        for one in found.skipped:
            typer.echo(f"skipped {one.name}: {one.reason}", err=True)
        out += [str(item) if isinstance(item, Path) else item for item in found.items]
    return out


def _holds(photo: str) -> bool:
    """Whether there are pictures in it."""
    return Path(photo).is_dir() or Path(photo).suffix.lower() in SHARDS


def place(photo: Any) -> Path:
    """Where a photo lies; one within a shard, as if that were a folder."""
    if isinstance(photo, str | Path):
        return Path(photo)
    shard = Path(photo.path).with_suffix("")
    return Path(shard.parent if photo.name.startswith(f"{shard.name}/") else shard, photo.name)


def target(target: list[str] | None) -> Any:
    if not target:
        return None
    return target[0] if len(target) == 1 else target


MOST = 40
"""Photos that one figure, or one contact sheet, may show."""
TOGETHER = 16
"""Photos in memory at once where each gets a file of its own."""
THUMBNAIL = 220
SHEET = "contact-sheet.png"


class Work:
    """Photos, their targets, and where their pictures go: one figure, or a folder with a file for each photo.

    A folder is taken where ``out`` has no suffix, and where there are more than :data:`MOST` photos. It mirrors the
    folders that the photos came from, and a contact sheet shows the first of them.
    """

    def __init__(self, photo: list[str] | None, target: list[str] | None, out: Path | None, default: str) -> None:
        self.photos = given(photo)
        self.target, self.default = target, default
        folder = out is not None and (not out.suffix or out.is_dir())
        if len(self.photos) > MOST and out is not None and not folder:
            raise SettingError(
                f"--out {out}: {len(self.photos)} photos do not fit into one picture of at most {MOST}. Give a folder, "
                "without a suffix: each photo gets a file of its own."
            )
        if target and len(target) not in (1, len(self.photos)):
            raise SettingError(
                f"{len(target)} targets for {len(self.photos)} photos: give one for all, or one for each."
            )
        self.folder = out if folder else Path(default) if len(self.photos) > MOST else None
        self.out = out
        self.names = mirrored(photo or [], self.photos)

    def write(
        self,
        models: Sequence[Model],
        run: Callable[[Sequence[Model], list[Any], Any], list[Any]],
        draw: Callable[[Any], Any],
        say: Callable[[Sequence[Any]], list[str]] | None = None,
        **team: Any,
    ) -> None:
        """Draw what ``run`` makes of the photos and their targets, a result for each model, and what there is to
        ``say`` of that. In a folder by the ``team`` (:data:`CREW`), :data:`TOGETHER` photos a task."""
        if self.folder is None:
            found = run(models, self.photos, target(self.target))
            _say(say, found)
            write(found, draw, self.out, f"{self.default}.png")
            return
        from .. import draw as plotting

        tasks = {}
        for start in range(0, len(self.photos), TOGETHER):
            some = slice(start, start + TOGETHER)
            aims = self.target[some] if self.target and len(self.target) > 1 else target(self.target)
            files = [self.folder.resolve() / name for name in self.names[some]]
            tasks[start] = (self.photos[some], aims, files)
        made: Any = None
        with crew(models, **team) as working, steps_bar(self.default, len(self.photos)) as advance:
            for start, (lines, found) in working.ordered(partial(_drawn, run=run, draw=draw, say=say), tasks):
                for line in lines:
                    typer.echo(line)
                made = found
                last = self.names[start : start + TOGETHER][-1]
                advance(min(start + TOGETHER, len(self.photos)), str(last))
        sheet = [_thumbnail(self.folder / name) for name in self.names[:MOST]]
        shown = f"{len(sheet)} of {len(self.photos)} photos"
        figure = plotting.contact_sheet(sheet, [str(name) for name in self.names], shown)
        writing.save_figure(figure, self.folder / SHEET, made)
        typer.echo(f"wrote {len(self.photos)} files and {SHEET} to {self.folder}")


def _say(say: Callable[[Sequence[Any]], list[str]] | None, found: Sequence[Any]) -> None:
    for line in say(found) if say else ():
        typer.echo(line)


def _drawn(
    models: Sequence[Model],
    task: tuple[list[Any], Any, list[Path]],
    *,
    run: Callable[[Sequence[Model], list[Any], Any], list[Any]],
    draw: Callable[[Any], Any],
    say: Callable[[Sequence[Any]], list[str]] | None,
) -> tuple[list[str], Any]:
    """Write the file of each of these photos; what there is to say, and the provenance of them all."""
    some, aims, files = task
    found = run(models, some, aims)
    for i, file in enumerate(files):
        of_one = [result[i] if len(result) > 1 else result for result in found]
        file.parent.mkdir(parents=True, exist_ok=True)
        writing.save_figure(draw(of_one), file, made(of_one))
    return say(found) if say else [], made(found)


def _thumbnail(file: Path) -> Any:
    with Image.open(file) as opened:
        small = opened.convert("RGB")
        small.thumbnail((3 * THUMBNAIL, THUMBNAIL))
        return np.asarray(small)


def mirrored(named: Sequence[str], photos: Sequence[Any]) -> list[Path]:
    """A file for each photo, under the folders below the one that was named; names that are taken are numbered."""
    holding = [Path(os.path.abspath(one)) for one in named if _holds(one)]
    folders = [one if one.is_dir() else one.with_suffix("") for one in holding]
    seen: dict[Path, int] = {Path(SHEET): 1}
    out = []
    for photo in (Path(os.path.abspath(place(one))) for one in photos):
        above = next((one for one in folders if photo.is_relative_to(one)), photo.parent)
        name = photo.relative_to(above).with_suffix(".png")
        free = name
        while free in seen:
            seen[name] += 1
            free = name.with_stem(f"{name.stem}-{seen[name]}")
        seen[free] = 1
        out.append(free)
    return out
