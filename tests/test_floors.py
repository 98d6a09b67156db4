"""The map of the house: floors import only downwards, nothing imports in a circle, and things lie where they belong."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = (
    "contract", "support", "inputs", "zoo", "results", "techniques", "evaluate", "draw", "reports", "explore", "docs",
    "testing", "cli",
)  # fmt: skip
"""From the ground up; what each holds is said in its first line."""
FOLDERS = (
    "attribution", "cam", "concepts", "controls", "dreams", "features", "network", "perturbation", "relevance",
    "transformers", "units",
)  # fmt: skip
LONGEST = 60
"""Lines of code in the file of a technique: neither blank, nor docstring, nor comment."""


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    found = {}
    for base in (ROOT / "vizkit", *(ROOT / "backends").glob("vizkit_*")):
        for file in base.rglob("*.py"):
            parts = file.relative_to(base.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(name: str, file: Path, known: set[str]) -> Iterator[str]:
    """What a module imports of the product: at its top, within its functions, and for types alone."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for one in node.names:
                inner = f"{source}.{one.name}"
                if inner in known or source in known:
                    yield inner if inner in known else source


@pytest.fixture(scope="module")
def edges() -> dict[str, set[str]]:
    """Every module and what it imports; a package is known by what its modules import, not by being their parent."""
    known = modules()
    return {
        name: {one for one in imported(name, file, set(known)) if one != name and not f"{name}.".startswith(f"{one}.")}
        for name, file in known.items()
    }


def floor_of(module: str) -> float:
    """Backends stand beside the zoo: they build networks from its weights. The public names stand on the
    explorer."""
    if module == "vizkit":
        return FLOORS.index("explore") + 0.5
    if module == "vizkit.__main__":
        return len(FLOORS)
    return FLOORS.index(module.split(".")[1]) if module.startswith("vizkit.") else FLOORS.index("zoo") + 0.5


def test_no_import_runs_upwards(edges: dict[str, set[str]]) -> None:
    upwards = [f"{a} -> {b}" for a, every in edges.items() for b in every if floor_of(b) > floor_of(a)]
    assert not upwards, "a floor imports what lies above it: " + ", ".join(sorted(upwards))


def test_no_import_runs_in_a_circle(edges: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.quick
def test_no_two_kinds_of_techniques_need_each_other(edges: dict[str, set[str]]) -> None:
    between: dict[str, set[str]] = {kind: set() for kind in FOLDERS}
    for name, every in edges.items():
        kinds = [one.split(".")[2] for one in (name, *every) if one.startswith("vizkit.techniques.")]
        if name.startswith("vizkit.techniques.") and kinds[0] in FOLDERS:
            between[kinds[0]] |= {kind for kind in kinds[1:] if kind in FOLDERS and kind != kinds[0]}
    TopologicalSorter(between).prepare()


def test_only_draw_imports_matplotlib() -> None:
    at_run_time = []
    for name, file in modules().items():
        if not name.startswith("vizkit."):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for_types = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if any(one.split(".")[0] == "matplotlib" for one in named) and id(node) not in for_types:
                at_run_time.append(name)
    assert {name for name in at_run_time if not f"{name}.".startswith("vizkit.draw.")} == set()


def code_lines(file: Path) -> int:
    """Lines that are neither blank, nor comment, nor docstring."""
    text = file.read_text(encoding="utf-8")
    told: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            told |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and k not in told for k, line in lines)


@pytest.mark.quick
def test_a_technique_is_a_short_file_in_the_folder_of_its_kind() -> None:
    from vizkit import techniques

    files = {Path(__import__(getattr(techniques, n).__module__, fromlist=["x"]).__file__) for n in techniques.__all__}
    assert {file.parent.name for file in files} <= set(FOLDERS)
    assert {file.name: code_lines(file) for file in files if code_lines(file) > LONGEST} == {}


@pytest.mark.quick
def test_each_floor_says_what_it_holds() -> None:
    present = {file.parent.name for file in (ROOT / "vizkit").glob("*/__init__.py")}
    assert present <= set(FOLDERS) | set(FLOORS)
    for name in present:
        assert ast.get_docstring(ast.parse((ROOT / "vizkit" / name / "__init__.py").read_text(encoding="utf-8"))), name
