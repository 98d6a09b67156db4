"""Running the notebooks of the documentation: ``python -m benchmarks.notebooks [--check] [NAME ...]``.

Every notebook runs from top to bottom in a kernel of its own, in a temporary folder. Without ``--check`` the outputs
are written back, without numbers of execution and times, so that an unchanged notebook stays the same file. Pictures
are stored with fewer colours, at half of their size; their text chunks, which say how they were made, stay.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, PngImagePlugin

from vizkit.support.files import replacing

if TYPE_CHECKING:
    from jupyter_client.manager import KernelManager
    from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parents[1] / "vizkit" / "docs" / "pages" / "notebooks"
"""Where the notebooks lie; the ``.ipynb`` files themselves are what is edited."""
TIMEOUT = 300
"""Seconds that one cell may take."""
LEVELS = 24
"""Of red, green and blue in stored pictures: few enough to compress well, too many to be seen."""
REDUCED = np.round(np.round(np.arange(256) / 255 * (LEVELS - 1)) * (255 / (LEVELS - 1))).astype(np.uint8)
"""What becomes of each value of a colour."""
NEEDED = "pip install nbclient nbformat ipykernel"
CLEARED = """
def clear(folder):
    import builtins, os, warnings

    os.chdir(folder)
    get_ipython().reset()
    warnings.filters[:] = vars(builtins).setdefault("filters of the start", list(warnings.filters))


clear({folder!r})
"""
"""Runs before a notebook in a kernel that has run others: no name of theirs is left, nor what they ignored."""


def paths(names: Sequence[str] = ()) -> list[Path]:
    """The notebooks, or those of these names, without suffix. Raises ValueError for a name that is not there."""
    known = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
    for name in names:
        if name not in known:
            raise ValueError(f"There is no notebook {name!r}; there are {', '.join(known)}.")
    return [known[name] for name in names or known]


@contextmanager
def kernel() -> Iterator[KernelManager]:
    """A kernel for several notebooks, which imports the frameworks once for all of them."""
    import nbformat
    from nbclient import NotebookClient

    client = NotebookClient(nbformat.v4.new_notebook(), kernel_name="python3")  # type: ignore[no-untyped-call]
    with client.setup_kernel():
        assert client.km is not None
        yield client.km


def executed(path: Path, shared: KernelManager | None = None) -> NotebookNode:
    """The notebook after a run in an empty temporary folder, in a fresh kernel or in a :func:`kernel`, cleared.

    Raises nbclient.exceptions.CellExecutionError at the first cell that fails.
    """
    import nbformat
    from nbclient import NotebookClient

    book: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        if shared is not None:
            first = nbformat.v4.new_code_cell(CLEARED.format(folder=folder))  # type: ignore[no-untyped-call]
            book.cells.insert(0, first)
        client = NotebookClient(
            book,
            km=shared,
            timeout=TIMEOUT,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.execute()
        if shared is not None:
            if client.kc is not None:
                client.kc.stop_channels()
            del book.cells[0]
    return book


def tidied(book: NotebookNode) -> NotebookNode:
    """The notebook without what differs from run to run: numbers of execution, times, the Python that ran it."""
    book.metadata["language_info"] = {"name": "python"}
    for number, cell in enumerate(book.cells):
        cell["id"] = f"cell-{number}"
        cell["metadata"] = {}
        if cell.cell_type != "code":
            continue
        cell["execution_count"] = None
        cell["outputs"] = _merged(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = None
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = base64.b64encode(
                    reduced(base64.b64decode(output["data"]["image/png"]))
                ).decode("ascii")
    return book


def _merged(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Text that a cell printed in one piece, however the kernel happened to cut it."""
    found: list[NotebookNode] = []
    for output in outputs:
        stream = output.get("name") if output.output_type == "stream" else None
        if stream is not None and found and found[-1].get("name") == stream:
            found[-1]["text"] += output["text"]
        else:
            found.append(output)
    return found


def reduced(png: bytes) -> bytes:
    """A PNG with :data:`LEVELS` levels of each colour and the same text chunks. Twice over is as once."""
    with Image.open(io.BytesIO(png)) as picture:
        said = PngImagePlugin.PngInfo()
        for name, text in picture.info.items():
            if isinstance(name, str) and isinstance(text, str):
                said.add_text(name, text)
        pixels = np.asarray(picture.convert("RGB"))
        few = REDUCED[pixels]
        if picture.mode == "RGB" and np.array_equal(few, pixels):  # it has been here before
            return png
    stream = io.BytesIO()
    Image.fromarray(few).save(stream, format="PNG", pnginfo=said, optimize=True)
    return stream.getvalue()


def write(path: Path, book: NotebookNode) -> None:
    """Write the notebook, whole or not at all."""
    import nbformat

    with replacing(path) as temporary:
        text: str = nbformat.writes(book)  # type: ignore[no-untyped-call]
        temporary.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebooks; 0 when all of them passed, 1 when one failed, 2 when nothing could be run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.notebooks", description="Run the notebooks.")
    parser.add_argument("--check", action="store_true", help="only run them; write nothing")
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks without suffix; none given: all of them")
    given = parser.parse_args(arguments)
    try:
        import nbclient
    except ImportError:
        print(f"Running notebooks needs nbclient. Install it with: {NEEDED}", file=sys.stderr)
        return 2
    try:
        chosen = paths(given.names)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    failed = []
    for path in chosen:
        began = time.monotonic()
        try:
            book = executed(path)
        except nbclient.exceptions.CellExecutionError as error:
            failed.append(path.stem)
            print(f"{path.stem}: FAILED\n{error}")
            continue
        if not given.check:
            write(path, tidied(book))
        print(f"{path.stem}: {time.monotonic() - began:.0f} s")
    if failed:
        print(f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
