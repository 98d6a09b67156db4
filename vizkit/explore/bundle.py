"""The page as files that a browser opens without a server: its modules as one classic script, since modules do not load
from a file's address."""

from __future__ import annotations

import re
from importlib.resources import files

from ..contract.errors import SettingError

START = "app.js"
IMPORT = re.compile(r'^import \{ ([^}]*) \} from "\./(\w+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?:(const|class|function|async function) (\w+)|\{ ([^}]*) \};)", re.MULTILINE)
PAGE_SCRIPT = '<script type="module" src="static/app.js"></script>'
PAGE_STYLE = 'href="static/style.css"'


def text(name: str) -> str:
    """One of the page's files."""
    return (files("vizkit.explore") / "static" / name).read_text(encoding="utf-8")


def bundle(start: str = START) -> str:
    """The page's modules as one classic script: each in a function of its own that returns what it exports.

    Example:
        >>> script = bundle("i18n.js")
        >>> script.index('modules["state.js"]') < script.index('modules["i18n.js"]'), "import {" in script
        (True, False)
    """
    done: list[str] = []
    parts: list[str] = []

    def add(name: str, within: tuple[str, ...]) -> None:
        if name in within:
            raise SettingError(
                f"{' imports '.join((*within, name))}: modules that import each other cannot be bundled."
            )
        if name in done:
            return
        source = text(name)
        for _, other in IMPORT.findall(source):
            add(other, (*within, name))
        done.append(name)
        parts.append(_wrapped(name, source))

    add(start, ())
    return "\n".join(['(() => {\n"use strict";\nconst modules = {};', *parts, "})();\n"])


def _wrapped(name: str, source: str) -> str:
    """A module as a function that returns its exports."""
    exports = []
    for kind, one, several in EXPORT.findall(source):
        exports += [one] if kind else [_renamed(each, reverse=True) for each in several.split(",")]
    body = IMPORT.sub(lambda found: _taken(found[1], found[2]), source)
    body = EXPORT.sub(lambda found: f"{found[1]} {found[2]}" if found[1] else "", body)
    return f'modules["{name}"] = (() => {{\n{body}return {{ {", ".join(exports)} }};\n}})();'


def _taken(names: str, module: str) -> str:
    """An import as a constant."""
    return f'const {{ {", ".join(map(_renamed, names.split(",")))} }} = modules["{module}"];\n'


def _renamed(name: str, reverse: bool = False) -> str:
    """``a as b`` as an object's pattern has it, or, in reverse, as an object has it."""
    first, _, second = (part.strip() for part in name.partition(" as "))
    if not second:
        return first
    return f"{second}: {first}" if reverse else f"{first}: {second}"


def page(data_script: str = "data.js", script: str = "explore.js", style: str = "style.css") -> str:
    """The page that loads the bundled script, and before it the one with the answers.

    Example:
        >>> "module" in page()
        False
    """
    scripts = f'<script src="{data_script}" defer></script>\n<script src="{script}" defer></script>'
    return text("index.html").replace(PAGE_SCRIPT, scripts).replace(PAGE_STYLE, f'href="{style}"')
