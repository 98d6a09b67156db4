"""No option of a command is taken and then left aside: each is read, or handed on to what does the work."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from vizkit import cli
from vizkit.cli.options import CREW, MACHINE, WHICH

COMMANDS = {one.callback.__name__: one.callback for one in cli.app.registered_commands if one.callback is not None}
BY_CALL = {"load": {"model", *WHICH, *MACHINE}, "set_threads": {"threads"}, "crew": set(CREW)}
"""Options that what a :class:`vizkit.cli.options.Call` offers reads."""
GIVEN = ("given", "call.given")


def unused(command: Callable[..., None]) -> set[str]:
    """Options of which neither the command, nor a function of its file that it calls, makes anything. Found in the
    source, so that an option of a rare case counts, too."""
    function = inspect.getclosurevars(command).nonlocals.get("function", command)
    own, known = tree_of(function), dict(function.__globals__)
    beside = helpers(own, known)
    every = [one for part in (own, *map(tree_of, beside.values())) for one in ast.walk(part)]
    for one in every:
        if isinstance(one, ast.Import | ast.ImportFrom):
            exec(ast.unparse(one), known)
    for one in every:
        if isinstance(one, ast.Call):  # a helper may get the technique handed
            helper, *handed = one.args if ast.unparse(one.func) == "partial" else [one.func, *one.args]
            names = inspect.signature(beside[ast.unparse(helper)]).parameters if ast.unparse(helper) in beside else ()
            for name, given in zip(names, handed, strict=False):
                if isinstance(given, ast.Attribute) and ast.unparse(given).split(".")[0] in known:
                    known[name] = eval(ast.unparse(given), known)
    used = {one.id for one in ast.walk(own) if isinstance(one, ast.Name)}
    for one in every:
        if isinstance(one, ast.Attribute) and ast.unparse(one.value) == "call":
            used |= BY_CALL.get(one.attr, set())
        elif isinstance(one, ast.Subscript) and ast.unparse(one.value) in GIVEN and isinstance(one.ctx, ast.Load):
            used |= {ast.unparse(one.slice).strip("'")}
        elif isinstance(one, ast.Call) and ast.unparse(one.func).removesuffix(".get") in GIVEN:
            used |= {ast.unparse(one.args[0]).strip("'")}
        elif isinstance(one, ast.Call) and ast.unparse(one.func) == "call.settings":
            takes = inspect.signature(eval(ast.unparse(one.args[0]), known))
            used |= {name for name, one in takes.parameters.items() if one.kind is one.KEYWORD_ONLY}
    return {name for name, one in inspect.signature(command).parameters.items() if not seen_elsewhere(one)} - used


def tree_of(function: Any) -> ast.Module:
    """Its body alone: neither its options nor what decorates it."""
    [whole] = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(whole, ast.FunctionDef)
    return ast.Module(whole.body, [])


def helpers(part: ast.AST, known: dict[str, Any]) -> dict[str, Any]:
    """Functions beside the command that it names, and those that they name."""
    found: dict[str, Any] = {}
    left = [part]
    while left:
        names = {one.id for one in ast.walk(left.pop()) if isinstance(one, ast.Name)} - set(found)
        fresh = {one: known[one] for one in names if inspect.isfunction(known.get(one))}
        fresh = {name: one for name, one in fresh.items() if one.__module__ == known["__name__"]}
        found |= fresh
        left += map(tree_of, fresh.values())
    return found


def seen_elsewhere(option: inspect.Parameter) -> bool:
    """By Typer itself, as the context, or by what is called back."""
    told = getattr(option.annotation, "__metadata__", (None,))[0]
    return told is None or told.callback is not None


@pytest.mark.quick
@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_used(command: str) -> None:
    assert not unused(COMMANDS[command]), f"options that change nothing of what `vizkit {command}` does"
