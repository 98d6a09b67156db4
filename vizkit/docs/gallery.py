"""The gallery: every command with the picture it draws. ``python -m vizkit.docs.gallery`` draws them anew."""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path

from PIL import Image, PngImagePlugin

from ..results import PROVENANCE

PAGES = Path(__file__).parent / "pages"
WIDTH, LARGE = 1100, 250_000
"""Of a picture on the page: pixels at most, and bytes from which it is kept in 256 colours."""
PHOTO = (
    "from PIL import Image; from vizkit.zoo import shapes; "
    "Image.fromarray(shapes.sample(1, 4, objects=2).images[0]).save('photo.png')"
)
"""Two objects over clutter, whose masks are known."""
SHOWN = (
    (
        "explain photo.png -m shapes --method all -b torch -b gluon",
        "Every method in both backends, the controls apart.",
    ),
    ("gradcam photo.png -m shapes -b torch -b gluon", "Grad-CAM: the photo, its map, and both in one."),
    ("gradcam photo.png -m shapes --on original", "The overlay alone."),
    ("saliency photo.png -m shapes", "Saliency."),
    ("features photo.png -m shapes -l features.6", "What a layer makes of a photo: all its channels."),
    ("features photo.png -m shapes --statistics", "How active every layer is."),
    ("filters -m squeezenet1_1 -w random:7", "A layer's weights; random ones here."),
    ("dream -m shapes -l features.16 -u 3 -u 14 -u 20 --steps 256", "What units respond to most, with evidence."),
    ("dream -m shapes -l features.16 -u 3 --recipe published --stages 24", "The published strip, from noise."),
    ("deepdream -m shapes -l features.13 --steps 8", "A photo in which a layer sees more of what it sees."),
    ("invert photo.png -m shapes --steps 200", "What each layer still knows of a photo."),
    ("receptive photo.png -m shapes", "What the middle unit of each layer can see, and looks at."),
    ("health shapes --samples 120", "Dead, always-on, saturated and duplicate units by layer."),
    ("unit shapes features.16 --samples 120 -k 6", "The patches that make units fire."),
    ("embed shapes --samples 240 --method pca", "A folder's images by a layer's features."),
    ("diagram shapes", "The network's graph."),
    ("evaluate --samples 12 --method gradcam --method saliency --method lime", "Methods ranked beside controls."),
)


def make(pages: Path = PAGES) -> Path:
    """Run every command in a folder of its own, and write the pictures and ``gallery.md``."""
    lines = [
        "# Gallery",
        "",
        "Each picture was made by the line below it. `photo.png` is a picture of shapes:",
        "",
        f"```bash\npython -c {shlex.quote(PHOTO)}\n```",
        "",
    ]
    for number, (command, caption) in enumerate(SHOWN):
        file = f"gallery-{number:02d}-{command.split()[0]}.png"
        _run(command, pages / "pictures" / file)
        lines += [f"**{caption}**", "", f"![{caption}](pictures/{file})", "", f"```bash\nvizkit {command}\n```", ""]
    page = pages / "gallery.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


def _run(command: str, target: Path) -> None:
    from ..cli import main

    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            exec(PHOTO)
            try:
                main([*shlex.split(command), "--out", "out.png"])
            except SystemExit as done:
                if done.code:
                    raise
            _smaller(next(Path(folder).glob("out*.png")), target)
        finally:
            os.chdir(before)


def _smaller(source: Path, target: Path) -> None:
    """At most so wide, and small, with the provenance."""
    with Image.open(source) as opened:
        said = PngImagePlugin.PngInfo()
        said.add_text(PROVENANCE, str(opened.info[PROVENANCE]), zip=True)
        picture = opened.convert("RGB")
        if picture.width > WIDTH:
            picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
        picture.save(target, optimize=True, pnginfo=said)
        if target.stat().st_size > LARGE:
            picture.quantize(256, Image.Quantize.MEDIANCUT).save(target, optimize=True, pnginfo=said)


if __name__ == "__main__":
    make()
