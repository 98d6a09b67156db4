"""What every figure is made of: canvases, panels without ticks, grids, titles."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any
from unicodedata import east_asian_width

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

from ..contract.backend import Array
from ..results.base import Result

GRAY = "0.35"
LETTER = 0.6
"""How wide a letter is, as a share of the font's size; most are narrower."""


EAST_ASIAN = (
    "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK JP", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB",
    "Microsoft YaHei", "Microsoft JhengHei", "SimHei", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "Droid Sans Fallback", "Noto Serif CJK SC", "Noto Serif CJK JP", "Arial Unicode MS",
)  # fmt: skip
"""Fonts for what Matplotlib's own has no letters for; the first that is installed is taken."""
LATIN = "\u2e80"
"""Where East Asian letters begin."""


@lru_cache(maxsize=1)
def fallback() -> str | None:
    """The first of :data:`EAST_ASIAN` that Matplotlib knows."""
    known = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in EAST_ASIAN if name in known), None)


class Page(Figure):
    """A figure that has letters for the names in it."""

    def draw(self, renderer: Any) -> None:
        for text in _texts(self):
            if any(letter >= LATIN for letter in text.get_text()) and (font := fallback()):
                families = [one for one in text.get_fontfamily() if one != font]
                text.set_fontfamily([*families, font])
        super().draw(renderer)


def _texts(figure: Any) -> Iterator[Text]:
    """What may hold a name: titles, labels, legends, and ticks that are named."""
    yield from figure.texts
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    for axes in figure.axes:
        yield from (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_locator(), FixedLocator) and len(axis.get_major_locator().locs):
                yield from axis.get_ticklabels()
    for legend in legends:
        if legend is not None:
            yield from (legend.get_title(), *legend.get_texts())
    for part in figure.subfigs:
        yield from part.texts


def new(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    figure = Page(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def spaces(figure: Any, rows: int, columns: int, **options: Any) -> Any:
    """(rows, columns) of axes, each empty until it gets its :func:`panel`."""
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.set_axis_off()
    return axes


def blocks(results: int, count: int, columns: int, side: tuple[float, float], margin: float) -> tuple[Figure, Any]:
    """A figure, and for each result a block of rows with places for ``count`` pictures; ``side`` inches of each."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new(side[0] * columns + margin, side[1] * rows * results)
    return figure, np.split(spaces(figure, rows * results, columns), results)


def panel(axes: Any, image: Array, title: str = "", *, smooth: bool = False, **options: Any) -> Any:
    """One picture without ticks; ``smooth`` where it is one for the eye, whose pixels mean nothing each."""
    axes.set_axis_on()
    drawn = axes.imshow(image, interpolation="bicubic" if smooth else "nearest", **options)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title, fontsize=9)
    return drawn


def room(inches: float, size: float = 9.0) -> int:
    """Letters that fit on a line of so many inches in a font of ``size`` points."""
    return max(4, int(inches * 72 / (size * LETTER)))


def _length(text: str) -> int:
    """In letters: those of East Asia are twice as wide."""
    return len(text) if text.isascii() else sum(1 + (east_asian_width(one) in "WF") for one in text)


def shortened(text: str, inches: float, size: float = 9.0, *, start: bool = False) -> str:
    """A text as it fits on a line of so many inches: its end, which tells most of a file or a layer, or its start."""
    most = room(inches, size)
    if _length(text) <= most:
        return text
    kept = text if start else text[::-1]
    while _length(kept) >= most:
        kept = kept[:-1]
    return f"{kept.rstrip()}…" if start else f"…{kept[::-1]}"


def folded(text: str, inches: float, size: float = 9.0, lines: int = 2) -> str:
    """A label on at most so many ``lines``, its end left out where it is longer."""
    letters = room(inches, size) * len(text) // max(_length(text), 1)
    return "\n".join(textwrap.wrap(text, max(letters, 4), max_lines=lines, placeholder="…"))


def ending(name: str, inches: float, size: float = 9.0) -> str:
    """A layer's name, whose end says what it is and whose middle which one, on two lines where one is too short."""
    most = room(inches, size)
    return name if len(name) <= most else f"{shortened(name[:-most], inches, size)}\n{name[-most:]}"


def captioned(name: str, label: str, inches: float, size: float = 9.0) -> str:
    """A picture's name and what stands beside it: on one line where both fit, else on two."""
    whole = f"{name}: {label}"
    if _length(whole) <= room(inches, size):
        return whole
    return f"{shortened(name, inches, size)}\n{shortened(label, inches, size, start=True)}"


def origin(result: Result) -> str:
    """Model, backend and weights of a result, for a title."""
    made = result.provenance
    source = made["weights"]["source"].replace("\\", "/").rsplit("/", 1)[-1]
    dtype = "" if made["dtype"] == "float32" else f", {made['dtype']}"
    return f"{made['model']} in {made['backend']}, weights {source}{dtype}"


def tile(pictures: Array, columns: int, gap: int = 1, fill: float = np.nan) -> Array:
    """(n, H, W) or (n, H, W, 3) pictures as one grid, ``gap`` pixels of ``fill`` between them."""
    n, height, width = pictures.shape[:3]
    rows = -(-n // columns)
    grid = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, *pictures.shape[3:]), fill, dtype=np.float64
    )
    for i, one in enumerate(pictures):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        grid[top : top + height, left : left + width] = one
    return grid


def scaled(maps: Array) -> Array:
    """Maps (n, H, W), each from its own minimum to its own maximum, as 0..1."""
    low = maps.min(axis=(1, 2), keepdims=True).astype(np.float64)
    span = maps.max(axis=(1, 2), keepdims=True) - low
    return np.asarray((maps - low) / np.where(span > 0, span, 1.0))


def columns_for(count: int, shape: tuple[int, ...], aspect: float = 1.6) -> int:
    """Columns that make ``count`` pictures a grid about ``aspect`` times as wide as high, with few places over."""
    ideal = np.sqrt(count * aspect * (shape[0] + 1) / (shape[1] + 1))
    near = range(max(1, round(ideal * 0.8)), max(1, round(ideal * 1.25)) + 1)
    return min(near, key=lambda columns: -count % columns / count + abs(np.log(columns / ideal)) * 0.3)


def wrapped(text: str) -> str:
    return text.replace(", weights", "\nweights")


def contact_sheet(pictures: Sequence[Array], names: Sequence[str], shown: str) -> Figure:
    """Pictures of any size in a grid under their names."""
    aspect = max(one.shape[1] / one.shape[0] for one in pictures)
    columns = min(len(pictures), max(1, round(5 / aspect)))
    rows = -(-len(pictures) // columns)
    figure = new(12.0, rows * (12.0 / columns / aspect + 0.3) + 0.4)
    for axis, one, name in zip(spaces(figure, rows, columns).flat, pictures, names, strict=False):
        panel(axis, one, name, smooth=True)
    figure.suptitle(shown, fontsize=9, color=GRAY)
    return figure
