"""A network without branches as a row of boxes in perspective: as high and deep as the picture, as thick as the number
of channels, in the manner of Krizhevsky et al. (2012) and of PlotNeuralNet."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

from PIL import ImageColor

from ...contract.graph import silent
from .boxes import ACTIVE, GRAY, active, colour, legend, size_text, tooltip
from .scene import Path, Polygon, Scene, Shape, Text, rectangle
from .steps import FOLLOW, Step, label

TALLEST, LOWEST = 300.0, 12.0
SLANT = (0.30, 0.22)
"""How far depth goes to the right and up, as a share of it."""
THIN = 7.0
LEFT, TOP = 36.0, 70.0
WORDS = {"linear": "dense", "max_pool": "pool", "avg_pool": "avg pool"}


def shown(found: Sequence[Step]) -> list[Step]:
    """The steps that are boxes of their own."""
    return [step for step in found[1:] if not silent(step.nodes[0])]


def _flat(shape: Sequence[int]) -> bool:
    """Whether a result is a row of numbers, or maps of one pixel."""
    return len(shape) < 4 or tuple(shape[2:]) == (1, 1)


def _height(shape: Sequence[int], first: int) -> float:
    """Sizes shrink by their square root, so that 7 pixels are still seen beside 224."""
    if _flat(shape):
        return max(LOWEST, min(TALLEST * 0.8, 26 * math.log2(shape[1] + 1) - 60))
    return max(LOWEST, TALLEST * math.sqrt(max(shape[-2:]) / first))


def _thickness(step: Step) -> float:
    if _flat(step.shape):
        return 14.0
    if step.kind in ("max_pool", "avg_pool"):
        return THIN
    return 6 + 3.2 * math.log2(step.shape[1]) * math.sqrt(step.shape[1] / 512) + 4


def _shade(fill: str, factor: float) -> str:
    red, green, blue = (one / 255 for one in ImageColor.getrgb(fill)[:3])
    hue, light, full = colorsys.rgb_to_hls(red, green, blue)
    return "#" + "".join(f"{round(255 * one):02x}" for one in colorsys.hls_to_rgb(hue, light * factor, full))


def _cuboid(left: float, middle: float, thick: float, high: float, fill: str, deep: float, title: str) -> list[Shape]:
    """Front, top and right side of a box whose front begins at ``left`` and is centred on ``middle``."""
    right, top, bottom = left + thick, middle - high / 2, middle + high / 2
    over, up = deep * SLANT[0], deep * SLANT[1]
    above = ((left, top), (left + over, top - up), (right + over, top - up), (right, top))
    side = ((right, top), (right + over, top - up), (right + over, bottom - up), (right, bottom))
    return [
        Polygon(above, _shade(fill, 1.04 if fill != "#ffffff" else 0.97), width=0.8, title=title),
        Polygon(side, _shade(fill, 0.86), width=0.8, title=title),
        Polygon(rectangle(left, top, thick, high), fill, width=0.8, title=title),
    ]


def volumes(found: Sequence[Step], title: str) -> Scene:
    """The boxes from left to right, with channels below, extents where they change, and names."""
    first = max(found[0].shape[-2:])
    middle = TOP + TALLEST * (1 + SLANT[1]) / 2 + 16
    floor = middle + TALLEST / 2
    x = LEFT
    boxes: list[Shape] = []
    words: list[Shape] = []
    high = _height(found[0].shape, first)
    boxes += _cuboid(x, middle, 4, high, "#ffffff", high, "input")
    words += _caption(x + 2, floor, "input", size_text(found[0].shape), str(found[0].shape[1]))
    x += 4 + high * SLANT[0] + 14
    before, face = found[0].shape, 0.0
    for step in shown(found):
        high, thick = _height(step.shape, first), _thickness(step)
        deep = 10.0 if _flat(step.shape) else high
        changed = step.shape[2:] != before[2:]
        if _flat(step.shape):
            x = max(x, face + 16)  # Small beside the face of a map before it, which would hide it.
        if changed and step.kind not in ("max_pool", "avg_pool"):
            x += 12
        boxes += _cuboid(x, middle, thick, high, colour(step), deep, tooltip(step))
        if active(step):
            boxes += _cuboid(x + thick, middle, 3, high, ACTIVE, deep, tooltip(step))
            thick += 3
        extent = size_text(step.shape) if changed and not _flat(step.shape) else ""
        channels = str(step.shape[1])
        words += _caption(x + thick / 2, floor, _words(step), extent, channels)
        face = x + thick + deep * SLANT[0]
        last = step.kind in ("max_pool", "avg_pool")
        x += thick + (deep * SLANT[0] + 16 if last or _flat(step.shape) else max(9.0, 22 - thick))
        before = step.shape
    width = max(x + 40, 760)
    line = Path(((LEFT, floor + 140), (width - LEFT, floor + 140)), arrow=False)
    note = Text((LEFT, floor + 182), "Height and depth: √ of the map's side; thickness: channels.", 10, "start", GRAY)
    head = Text((LEFT, 24), title, 15, "start", bold=True)
    return Scene(width, floor + 200, [head, *boxes, *words, line, *legend((LEFT, floor + 160)), note], title)


def _words(step: Step) -> str:
    name = step.nodes[0].name
    return f"{name}  {label(step, WORDS).split(',')[0]}" if name != step.kind else label(step, WORDS)


def _caption(x: float, floor: float, words: str, extent: str, channels: str) -> list[Shape]:
    """Channels, the extent where it changes, and the name slanting below."""
    out: list[Shape] = [Text((x, floor + 12), channels, 9.5, colour=GRAY)]
    if extent:
        out.append(Text((x, floor + 27), extent, 9.5, bold=True))
    return [*out, Text((x + 4, floor + 44), words, 9.5, "end", GRAY, turn=40)]


def is_sequential(found: Sequence[Step]) -> bool:
    """Whether every step reads the one before it alone, and maps are pictures."""
    row = all(step.inputs == (i - 1,) for i, step in enumerate(found) if i)
    return row and len(found[0].shape) == 4 and any(step.kind not in FOLLOW for step in found[1:])
