"""The gallery page: every command in it was run by this file, and so were the pictures drawn.

python -m benchmarks.gallery            # all of it, a few minutes
python -m benchmarks.gallery gradcam    # only the commands that have this word in them

The page itself is what is edited: under each command stands what it drew or printed, which is written anew. What it
prints is cut where it was cut before, at a line that says "…".
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

PAGES = Path(__file__).resolve().parents[1] / "vizkit" / "docs" / "pages"
LARGEST = 400_000
WIDEST = 1100
SAMPLES = re.compile(r"```python\n(.*?)```", re.DOTALL)
"""The code that draws the samples which the commands are given."""
ENTRY = re.compile(
    r"```bash\n(?P<command>[^\n]*)\n```\n\n(?:!\[.*?\]\((?P<picture>.*?)\)|```text\n(?P<printed>.*?)\n```)", re.DOTALL
)
"""A command, and the picture that it draws or what it prints."""
WITHIN = {"gallery": "*.png", "unit": "patches.png", "compare": "layers-shapes.png"}
"""The picture that is shown of a command that writes a folder."""


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def run(command: str) -> str:
    """Run a command in this process, in this folder; what it prints."""
    from vizkit.cli import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            main(shlex.split(command)[1:])
        except SystemExit as stopped:
            if stopped.code:
                raise RuntimeError(f"{command}: exit code {stopped.code}") from None
    return said.getvalue()


def reduce(source: Path, target: Path) -> None:
    """A copy of a picture in 256 colours, and smaller where that is not enough."""
    with Image.open(source) as opened:
        rgb = Image.new("RGB", opened.size, "white")
        rgb.paste(opened.convert("RGBA"), mask=opened.convert("RGBA").split()[3])
    if rgb.width < 200:
        rgb = rgb.resize((4 * rgb.width, 4 * rgb.height), Image.Resampling.NEAREST)
    side = min(WIDEST, rgb.width)
    while True:
        shown = rgb.resize((side, round(rgb.height * side / rgb.width)), Image.Resampling.LANCZOS)
        shown.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(target, optimize=True)
        if target.stat().st_size < LARGEST:
            return
        side = round(side * 0.9)


def anew(entry: re.Match[str]) -> str:
    """An entry of the page after its command has run again."""
    command = entry["command"]
    print(command, file=sys.stderr)
    said = run(command).rstrip().splitlines()
    if entry["picture"]:
        out = Path(shlex.split(command)[-1])
        source = min(out.glob(WITHIN[command.split()[1]])) if out.is_dir() else out
        reduce(source, PAGES / entry["picture"])
        return entry[0]
    before = entry["printed"].splitlines()
    most = len(before) - 1 if before[-1] == "…" else len(said)
    lines = [line.rstrip() for line in said[:most]] + ["…"] * (len(said) > most)
    return entry[0].replace(entry["printed"], "\n".join(lines))


def make(only: str = "") -> None:
    """Run the commands, and write their pictures and the page."""
    page = PAGES / "gallery.md"
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, _inside(Path(folder)):
        exec(compile(SAMPLES.findall(text)[0], page.name, "exec"), {})
        text = ENTRY.sub(lambda entry: anew(entry) if only in entry["command"] else entry[0], text)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    make(*sys.argv[1:2])
