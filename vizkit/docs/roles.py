"""Docstrings name other functions as Sphinx does; here a name is enough."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|meth|mod|data|attr|exc):`~?([^`]+)`")


class Roles(griffe.Extension):  # type: ignore[misc, unused-ignore]
    """Turns ``:func:`x``` into ``x`` in code, and the heading of an example into the one that is drawn as code."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called for every object whose source was read."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value).replace("\nExample:\n", "\nExamples:\n")
