"""One run of the demo: the networks, and how a chapter is computed in each and becomes a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from ... import results
from ...contract.backend import Array, Model
from ...contract.errors import VizkitError
from ..page import Chapter, Table, difference, drawn, heard
from .subjects import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

R = TypeVar("R", bound=results.Result)
GENERATOR = "vizkit demo"
"""What the page's generator tag begins with, by which an earlier page is known."""


@dataclass
class Run:
    """The networks, one for each backend, what they look at, and the notes of the chapter being made."""

    models: Sequence[Model]
    subject: Subject
    seed: int
    tell: Callable[[str], None]
    notes: list[str] = field(default_factory=list)

    def each(self, what: str, technique: Callable[[Model], R]) -> list[R]:
        """The technique in every backend that can; the others' errors, and all warnings of maps, become notes.

        Raises the first error when no backend can. Anything but a VizkitError is a bug and comes through.
        """
        found: list[R] = []
        failed: list[VizkitError] = []
        for model in self.models:
            self.tell(f"{what} in {model.backend}")
            with heard(self.notes, f"{model.backend}: "):
                try:
                    found.append(technique(model))
                except VizkitError as error:
                    failed.append(error)
                    self.notes.append(f"{model.backend}: {error}")
        if not found:
            raise failed[0]
        return found

    def chapter(
        self,
        key: str,
        title: str,
        text: str,
        figure: Figure,
        alt: str,
        made: Sequence[results.Result],
        numbers: str | Mapping[str, Sequence[Array]],
        *,
        origin: str,
        tables: Sequence[Table] = (),
        wide: bool = True,
    ) -> Chapter:
        """A finished chapter. ``numbers`` are what is compared between the backends, by name: an array a result; a name
        alone means the results' values."""
        names = [str(result.provenance["backend"]) for result in made]
        if isinstance(numbers, str):
            numbers = {numbers: [result.values for result in made]}
        found = [
            one for what, arrays in numbers.items() for one in difference(what, list(zip(names, arrays, strict=True)))
        ]
        provenances = [result.provenance for result in made]
        picture = drawn(f"{key}.png", figure, alt, GENERATOR, origin, provenances, wide=wide)
        return Chapter(key, title, text, [picture], tables, found, tuple(self.notes))

    def finish(self, key: str, title: str, make: Callable[[Run], Chapter]) -> Chapter:
        """The chapter, or in its place one that says why there is none."""
        self.notes.clear()
        try:
            return make(self)
        except VizkitError as error:
            return Chapter(key, title, "This picture could not be made.", notes=[*self.notes] or [str(error)])
