"""One run of the homework: the networks by the part they play, the photo, and how pictures become chapters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ...contract.backend import Model
from ...contract.errors import VizkitError, one_of
from ...inputs.images import ImageInput
from ..page import Chapter, Picture, drawn, heard

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GENERATOR = "vizkit homework"
"""What the page's generator tag begins with, by which an earlier page is known."""
ROLES = ("vgg19", "resnet152", "googlenet")
"""The networks of the notebook, and the one of the extensions."""
CORRECT, PUBLISHED = "correct", "published"
FIT = "squash"

WORDS: Mapping[str, Mapping[str, str]] = {
    language: json.loads((files("vizkit.reports.homework") / f"{language}.json").read_text(encoding="utf-8"))
    for language in ("en", "zh")
}
"""By language: Chinese is that of Taiwan. All have the same keys, and the same fields within them."""


def words_of(language: str) -> Mapping[str, str]:
    """The words of "en" or "zh" (Traditional Chinese, Taiwan). Raises SettingError for another language."""
    one_of("language", language, WORDS)
    return WORDS[language]


@dataclass
class Run:
    """``models`` by their part in :data:`ROLES`, ``words`` of the page's language, ``dream`` the settings of the last
    section."""

    models: Mapping[str, Model]
    photo: ImageInput
    photo_name: str
    words: Mapping[str, str]
    as_published: bool = False
    seed: int = 0
    dream: Mapping[str, Any] = field(default_factory=dict)

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
        title = self.words[reading] if reading else ""
        file = f"{name}-{reading}.png" if reading else f"{name}.png"
        alt = f"{title}: {alt}" if title else alt
        return drawn(file, figure, alt, GENERATOR, self.photo_name, [made], wide=wide, title=title)

    def finish(self, key: str, title: str, make: Callable[[Run], Chapter]) -> Chapter:
        """The section, or in its place one that says why there is none. Warnings of maps become notes; anything but a
        VizkitError is a bug and comes through."""
        notes: list[str] = []
        with heard(notes):
            try:
                done = make(self)
            except VizkitError as error:
                done = Chapter(key, title, self.words["failed"], notes=[str(error)])
        return replace(done, key=key, title=title, notes=[*done.notes, *notes])
