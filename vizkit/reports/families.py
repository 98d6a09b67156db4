"""All techniques that explain, by family, each with a line on when to believe it."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

from .. import techniques
from ..support import columns

SECTION = re.compile(r"^Believe:\n((?:[ ]+.*\n?)+)", re.MULTILINE)


def believe(technique: object) -> str:
    """What a docstring says under "Believe:", on one line; empty where it says nothing."""
    found = SECTION.search(inspect.getdoc(technique) or "")
    return " ".join(found[1].split()) if found else ""


def families() -> dict[str, dict[str, str]]:
    """By family, in the order of the table of contents: every public technique that says when to believe it, and what
    it says. A family is a folder of techniques; its name is the first line of the folder's docstring.
    """
    found: dict[str, dict[str, str]] = {}
    for name in techniques.__all__:
        one = getattr(techniques, name)
        text = believe(one)
        if text:
            folder = import_module(one.__module__.rpartition(".")[0])
            found.setdefault((folder.__doc__ or "").strip().rstrip("."), {})[name] = text
    return dict(sorted(found.items()))


def table(width: int | None = None) -> str:
    """:func:`families` as text, what is longer than ``width`` in several lines."""
    longest = max(len(name) for family in families().values() for name in family)
    blocks = []
    for family, members in families().items():
        said = [f"  {name:<{longest}}  {text}" for name, text in members.items()]
        lines = [columns.folded(family, width), *(columns.folded(one, width, " " * (longest + 4)) for one in said)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
