"""One run of the homework: the networks by the part they play, the photo, and how pictures become chapters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ... import results
from ...contract.backend import Model
from ...contract.errors import MapWarning, VizkitError
from ...inputs.images import ImageInput
from ..page import Chapter, Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GENERATOR = "vizkit homework"
"""What the page's generator tag begins with, by which an earlier page is known."""
ROLES = ("vgg19", "resnet152", "googlenet")
"""The networks of the notebook, and the one of the extensions."""
CORRECT, PUBLISHED = "correct", "published"
FIT = "squash"
DPI = 120


@dataclass
class Run:
    """``models`` by their part in :data:`ROLES`, ``words`` of the page's language, ``dream`` the settings of the last
    section, ``notes`` those of the section being made."""

    models: Mapping[str, Model]
    photo: ImageInput
    photo_name: str
    words: Mapping[str, str]
    as_published: bool = False
    seed: int = 0
    dream: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def readings(self) -> tuple[str, str]:
        """Both ways to compute what the notebook got wrong, in the order of the page."""
        return (PUBLISHED, CORRECT) if self.as_published else (CORRECT, PUBLISHED)

    def say(self, key: str, **values: Any) -> str:
        """Words in the page's language."""
        return self.words[key].format(**values)

    def picture(
        self, name: str, figure: Figure, made: Mapping[str, Any], alt: str, reading: str = "", wide: bool = True
    ) -> Picture:
        """A PNG with its provenance inside; ``reading`` is which of the two ways, where there are two."""
        inside: dict[str, Any] = {"page": GENERATOR, "subject": self.photo_name, "results": [made]}
        title = self.words[reading] if reading else ""
        file = f"{name}-{reading}.png" if reading else f"{name}.png"
        alt = f"{title}: {alt}" if title else alt
        return Picture(file, alt, results.figure_bytes(figure, inside, DPI), inside, wide, title)

    def finish(self, key: str, title: str, make: Callable[[Run], Chapter]) -> Chapter:
        """The section, or in its place one that says why there is none. Warnings of maps become notes; anything but a
        VizkitError is a bug and comes through."""
        self.notes.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", MapWarning)
            try:
                done = make(self)
            except VizkitError as error:
                done = Chapter(key, title, self.words["failed"], notes=[str(error)])
        told = [str(one.message) for one in caught if issubclass(one.category, MapWarning)]
        for one in caught:
            if not issubclass(one.category, MapWarning):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        return Chapter(
            key, title, done.text, done.pictures, done.tables, done.differences, [*done.notes, *told], done.pre
        )
