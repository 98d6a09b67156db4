"""What the benchmarks write, files of the repository, and the list of techniques, shown in the pages without a copy."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
FILE = re.compile(r"^<!-- file: (\S+)(.*) -->$", re.MULTILINE)
"""Where a page shows a file of the repository, or the classes and functions in it that are named."""
TECHNIQUES = re.compile(r"^<!-- techniques: (.+) -->$", re.MULTILINE)
"""Where a page describes every technique of these folders."""
PICTURES = {
    "gradcam.png": BENCHMARKS / "pictures" / "gradcam.png",
    "explain.png": BENCHMARKS / "pictures" / "explain.png",
    "units.png": BENCHMARKS / "pictures" / "gallery.png",
    "traces.png": BENCHMARKS / "pictures" / "traces.png",
    "diagram.png": BENCHMARKS / "pictures" / "diagram.png",
    "study-saliency.png": BENCHMARKS / "studies" / "squeezenet1_0" / "saliency-squeezenet1_0.png",
    "study-layers.png": BENCHMARKS / "studies" / "squeezenet1_0" / "layers-squeezenet1_0.png",
}


def on_files(files: Any, config: Any) -> Any:
    """MkDocs calls it with the files of the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "speed.md", abs_src_path=str(BENCHMARKS / "SPEED.md")))
    for name, path in PICTURES.items():
        files.append(File.generated(config, f"pictures/measured/{name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls it with the text of each page."""

    def shown(found: re.Match[str]) -> str:
        path, names = ROOT / found[1], found[2].split()
        text = path.read_text(encoding="utf-8")
        parts: dict[str, Any] = {getattr(one, "name", ""): one for one in ast.parse(text).body}
        chosen = [_source(text, parts[name]) for name in names] or [text.rstrip()]
        return f'```python title="{path.name}"\n' + "\n\n\n".join(chosen) + "\n```"

    return FILE.sub(shown, TECHNIQUES.sub(_described, markdown))


def _described(found: re.Match[str]) -> str:
    """Entries of the reference, in the order of the folders; read, not imported, since who builds the pages need not
    have NumPy."""
    exports = ast.parse((ROOT / "vizkit" / "techniques" / "__init__.py").read_text(encoding="utf-8")).body
    imports = [one for one in exports if isinstance(one, ast.ImportFrom)]
    chosen = [one for folder in found[1].split() for one in imports if f"{one.module}.".startswith(f"{folder}.")]
    names = [alias.name for one in chosen for alias in one.names]
    return "\n\n".join(f"::: vizkit.{name}\n    options:\n      heading_level: 2" for name in names)


def _source(text: str, part: Any) -> str:
    """The lines of a class or function, with its decorators."""
    first = min([part.lineno, *(one.lineno for one in part.decorator_list)])
    return "\n".join(text.splitlines()[first - 1 : part.end_lineno])
