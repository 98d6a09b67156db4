"""Docstrings as Markdown: the sections and the references that they are written with, for the API pages.

A Griffe extension. It changes text alone, so that nothing here imports a framework.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from typing import Any

import griffe

ADDRESSES: dict[str, str] = run_path(str(Path(__file__).parents[1] / "support" / "addresses.py"))["ADDRESSES"]
"""Read by its path: where a wheel is built there is neither NumPy nor anything else that ``import vizkit`` needs."""
SECTION = re.compile(r"^(Args|Returns|Raises|Believe|Example):(.*)$")
TITLES = {"Believe": "When to believe it"}
ROLE = re.compile(r":(?:func|class|mod|meth|data|attr):`~?([^`]+)`")
ITEM = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)$")


class Docstrings(griffe.Extension):
    """Makes Markdown of every docstring of the package."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Called when everything in the package is known, so that references can be looked up."""
        for one in _everything(pkg):
            if one.docstring is not None:
                one.docstring.value = markdown(one.docstring.value, one)
        _prefer_functions(pkg)
        _public_addresses(pkg)


def _everything(one: Any) -> Iterator[Any]:
    yield one
    for member in one.members.values():
        if not member.is_alias:
            yield from _everything(member)


def _prefer_functions(pkg: griffe.Module) -> None:
    """``vizkit.saliency`` is the function to whoever imports it; a module of the same name hides it from Griffe."""
    for name in pkg.exports or ():
        found: Any = pkg.members[str(name)]
        module = found.final_target if found.is_alias else found
        if module.is_module and str(name) in module.members:
            function = module.members[str(name)]
            target = function.final_target if function.is_alias else function
            pkg.members[str(name)] = griffe.Alias(str(name), target=target, parent=pkg)
            classes = {key: one for key, one in module.members.items() if not one.is_alias and one.is_class}
            target.members.update(classes)  # so that ``vizkit.explain.Explanation`` is still found


def _public_addresses(pkg: griffe.Module) -> None:
    """``vizkit.targets`` is documented as such, whichever floor it lives on."""
    for name, place in ADDRESSES.items():
        if "." not in name and name not in pkg.members:
            pkg.members[name] = griffe.Alias(name, target=pkg[place], parent=pkg)


def markdown(text: str, one: Any) -> str:
    """A docstring with its sections and doctests as Markdown has them, and its references as links."""
    out: list[str] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        section = SECTION.match(lines[at])
        if section is None:
            out.append(lines[at])
            at += 1
            continue
        end = at + 1
        while end < len(lines) and (not lines[end].strip() or lines[end].startswith(" ")):
            end += 1
        out += _section(section[1], section[2].strip(), lines[at + 1 : end])
        at = end
    link = '<autoref identifier="{}" optional><code>{}</code></autoref>'  # where a page documents it, else its name
    return ROLE.sub(lambda role: link.format(_path(role[1], one), role[1]), "\n".join(_fenced(out)))


def _section(name: str, rest: str, body: list[str]) -> list[str]:
    kept = [line for line in body if line.strip()]
    indent = min((len(line) - len(line.lstrip()) for line in kept), default=0)
    body = [line[indent:] for line in body]
    head = ["", f"**{TITLES.get(name, name)}:** {rest}".rstrip(), ""]
    if name != "Args":
        return [*head, *body, ""]
    listed = []
    for line in body:
        item = ITEM.match(line)
        if item is not None:
            names = ", ".join(f"`{part}`" for part in item[1].split(", "))
            listed.append(f"- {names}: {item[2]}")
        else:
            listed.append(f"    {line.strip()}" if line.strip() else "")
    return [*head, *listed, ""]


def _fenced(lines: list[str]) -> Iterator[str]:
    """Doctests in a fence, and ``::`` as the colon that it stands for."""
    open_ = False
    for line in lines:
        if not open_ and line.lstrip().startswith(">>> "):
            yield from ("", "```pycon")
            open_ = True
        elif open_ and not line.strip():
            yield "```"
            open_ = False
        yield line if open_ else re.sub(r"::$", ":", line)
    if open_:
        yield "```"


def _path(name: str, one: Any) -> str:
    if name.startswith("vizkit"):
        return name
    scope = one
    while scope is not None:
        first = name.split(".")[0]
        if first in scope.members:
            member = scope.members[first]
            path = member.target_path if member.is_alias else member.path
            return ".".join([path, *name.split(".")[1:]])
        scope = scope.parent
    return name
