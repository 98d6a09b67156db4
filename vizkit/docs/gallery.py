"""The gallery page: every command in it was run by this file, and so were the pictures drawn.

python -m vizkit.docs.gallery            # all of it, a few minutes
python -m vizkit.docs.gallery gradcam    # only the entries whose file or command has this word in it; the page is kept
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

PAGES = Path(__file__).resolve().parent / "pages"
PICTURES = PAGES / "pictures"
LARGEST = 400_000
WIDEST = 1100
SEED = 2026


@dataclass(frozen=True)
class Entry:
    """One command. ``file`` is the picture that it writes; None shows what it prints, at most ``lines`` of it."""

    command: str
    file: str | None
    caption: str
    lines: int = 24


CHAPTERS: dict[str, list[Entry]] = {
    "Why did it answer so?": [
        Entry("vizkit predict photo.png two.png -m shapes --top 3", None, "The three most probable classes."),
        Entry("vizkit saliency photo.png -m shapes -o saliency.png", "saliency.png", "The gradient at the input."),
        Entry(
            "vizkit gradcam photo.png -m shapes -b torch -b gluon -o gradcam.png",
            "gradcam.png",
            "Grad-CAM in both backends, a row for each.",
        ),
        Entry(
            "vizkit gradcam two.png -m shapes -t 'green blob' --on original -o overlay.png",
            "overlay.png",
            "The overlay alone, on the original.",
        ),
        Entry(
            "vizkit explain two.png -m shapes -t dots -t 'green blob' --method saliency --method smoothgrad "
            "--method integrated_gradients --method gradcam --method layercam --method occlusion -o explain.png",
            "explain.png",
            "Six methods as columns, two targets as rows.",
        ),
        Entry(
            "vizkit explain photo.png -m shapes --method gradcam --method guided_backprop --method random_map "
            "--method edge_map --method centre_map --bare -o controls.png",
            "controls.png",
            "Two methods beside the three controls: the edge filter looks like a map of guided backpropagation.",
        ),
    ],
    "Which method to believe": [
        Entry(
            "vizkit evaluate --samples 12 --method saliency --method gradcam --method integrated_gradients",
            None,
            "Ranks beside the controls, on pictures whose objects are known.",
        ),
    ],
    "What does a unit look for?": [
        Entry("vizkit filters -m shapes -l features.0 -o filters.png", "filters.png", "The first layer's weights."),
        Entry(
            "vizkit features photo.png -m shapes -l features.9 -o features.png",
            "features.png",
            "All channels of a layer for one picture.",
        ),
        Entry(
            "vizkit features photo.png -m shapes --statistics -o statistics.png",
            "statistics.png",
            "How active every layer is.",
        ),
        Entry(
            "vizkit dream -m shapes -l features.16 -u 3 -u 14 -o dream.png",
            "dream.png",
            "What two units respond to most. With `--recipe published` a small picture grows.",
        ),
        Entry(
            "vizkit dream -m shapes -t star -t ring -t checkerboard -o classes.png",
            "classes.png",
            "Pictures that raise the logits of three classes.",
        ),
        Entry(
            "vizkit gallery shapes --layers features.16 --top 10 --images pictures -o sheets",
            "sheets/*.png",
            "The ten units of a layer that the pictures excite most.",
        ),
        Entry(
            "vizkit deepdream -m shapes -l features.16 --size 384 -o deepdream.png",
            "deepdream.png",
            "DeepDream on the bundled photo: the network of shapes sees its stripes and corners in it.",
        ),
        Entry(
            "vizkit invert photo.png -m shapes --steps 200 -o invert.png",
            "invert.png",
            "What five layers still know of a picture.",
        ),
    ],
    "Folders of images": [
        Entry(
            "vizkit unit shapes features.16 3 --images pictures -o unit",
            "unit/patches.png",
            "One unit over a folder: the patches at which it fires.",
        ),
        Entry(
            "vizkit health shapes --images pictures -o health.png",
            "health.png",
            "Dead, always-on, saturated and duplicate units by depth.",
        ),
        Entry(
            "vizkit embed shapes --samples 480 -o embed.png",
            "embed.png",
            "A t-SNE map of 480 samples by the network's last features.",
        ),
    ],
    "The network itself": [
        Entry("vizkit layers shapes", None, "Every operation, with receptive field and stride.", 14),
        Entry("vizkit diagram shapes -o diagram.png", "diagram.png", "The network's graph."),
        Entry(
            "vizkit receptive photo.png -m shapes -l features.9 -l features.16 -l features.23 -o receptive.png",
            "receptive.png",
            "What the middle unit of three layers can see, and what it looks at.",
        ),
    ],
    "Backends and weights": [
        Entry(
            "vizkit compare photo.png -m shapes -b torch -b gluon --technique saliency --technique feature_maps "
            "--repeats 1 -o study",
            "study/layers-shapes.png",
            "A study's figure: how far the backends differ, by depth.",
        ),
        Entry(
            "vizkit convert squeezenet1_1 random:7 -o squeezenet1_1.params",
            None,
            "Weights for Gluon's own `load_parameters`.",
        ),
        Entry("vizkit weights squeezenet1_1.params", None, "What a weights file holds.", 12),
        Entry("vizkit models -b gluon", None, "Names of networks.", 12),
        Entry("vizkit backends", None, "What is installed."),
        Entry("vizkit doctor -b gluon --device cpu", None, "Whether gradients are right on this machine.", 40),
    ],
}
HEAD = """\
# Gallery

Each picture was made by the command above it, with the bundled network `shapes`, and then reduced to 256 colours to
keep the pages small. Anything your own network and photo can do works the same way: replace `shapes` by a name from
`vizkit models`.

`photo.png`, `two.png` and the folder `pictures` are samples of the pictures that `shapes` was trained to name:

```python
from pathlib import Path

from PIL import Image

import vizkit

one = vizkit.zoo.shapes.sample(8, seed=2026)
two = vizkit.zoo.shapes.sample(1, seed=28, objects=2)
Image.fromarray(one.images[7]).save("photo.png")
Image.fromarray(two.images[0]).save("two.png")

many = vizkit.zoo.shapes.sample(96, seed=2026)
names = vizkit.load("shapes").spec.labels
for i, (picture, label) in enumerate(zip(many.images, many.labels)):
    folder = Path("pictures", names[int(label)])
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / f"{i:03}.png")
```

The commands that are not here make whole pages: `vizkit demo` and `vizkit homework`, see
[Homework and doctor](guide/homework.md).
"""


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def prepare() -> None:
    """What the page says of the samples, run as it stands there."""
    exec(compile(HEAD.split("```python\n")[1].split("```")[0], "gallery.md", "exec"), {})


def run(command: str) -> str:
    """Run a command in this process, in this folder; what it prints."""
    from ..cli import main

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


def name_of(entry: Entry) -> str:
    """The committed picture's name: that of the file, or for one of several the command's."""
    assert entry.file is not None
    return f"{entry.command.split()[1]}.png" if "*" in entry.file or "/" in entry.file else entry.file


def make(only: str | None = None) -> None:
    """Run the commands, write their pictures and, unless only some were asked for, the page."""
    PICTURES.mkdir(exist_ok=True)
    page = [HEAD]
    with tempfile.TemporaryDirectory() as folder, _inside(Path(folder)):
        prepare()
        for chapter, entries in CHAPTERS.items():
            page.append(f"## {chapter}\n")
            for entry in entries:
                if only is not None and only not in f"{entry.command} {entry.file}":
                    continue
                print(entry.command, file=sys.stderr)
                said = run(entry.command)
                page.append(f"{entry.caption}\n\n```bash\n{entry.command}\n```\n")
                if entry.file is not None:
                    found = sorted(Path().glob(entry.file))
                    reduce(found[0], PICTURES / name_of(entry))
                    page.append(f"![{entry.caption}](pictures/{name_of(entry)})\n")
                else:
                    lines = said.rstrip().splitlines()
                    lines = [*lines[: entry.lines], "…"] if len(lines) > entry.lines else lines
                    page.append("```text\n" + "\n".join(line.rstrip() for line in lines) + "\n```\n")
    if only is None:
        (PAGES / "gallery.md").write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    make(*sys.argv[1:2])
