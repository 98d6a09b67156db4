"""A drawing of a few shapes in pixels, written as SVG text or as a matplotlib figure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure

FONT = "DejaVu Sans, Verdana, Arial, sans-serif"
INK, LINE, PAPER = "#1a1a1a", "#5b6470", "#ffffff"
Point = tuple[float, float]


@dataclass(frozen=True)
class Polygon:
    """A filled shape; ``title`` is its tooltip, ``data`` its attributes in SVG, ``dash`` draws its edge dashed."""

    points: tuple[Point, ...]
    fill: str
    edge: str = LINE
    width: float = 1.0
    dash: bool = False
    title: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Path:
    """A line through points; ``round`` bends it into curves that leave and arrive level; ``arrow`` at its end."""

    points: tuple[Point, ...]
    arrow: bool = True
    round: bool = True
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Text:
    """Words at a point; ``anchor`` start, middle or end; ``turn`` degrees anticlockwise."""

    at: Point
    words: str
    size: float = 11.0
    anchor: str = "middle"
    colour: str = INK
    bold: bool = False
    turn: float = 0.0


Shape = Polygon | Path | Text


@dataclass(frozen=True)
class Scene:
    """Shapes on paper of ``width`` x ``height`` pixels, the later over the earlier."""

    width: float
    height: float
    shapes: Sequence[Shape]
    title: str


def rectangle(left: float, top: float, width: float, height: float) -> tuple[Point, ...]:
    """The corners of a rectangle."""
    return ((left, top), (left + width, top), (left + width, top + height), (left, top + height))


def segments(path: Path) -> list[tuple[Point, Point, Point, Point]]:
    """A path as cubic curves: start, two handles, end."""
    out = []
    for (x0, y0), (x1, y1) in pairwise(path.points):
        middle = (x0 + x1) / 2
        bent = path.round and y0 != y1
        thirds = ((2 * x0 + x1) / 3, (2 * y0 + y1) / 3), ((x0 + 2 * x1) / 3, (y0 + 2 * y1) / 3)
        handles = ((middle, y0), (middle, y1)) if bent else thirds
        out.append(((x0, y0), *handles, (x1, y1)))
    return out


def svg(scene: Scene, made: Mapping[str, Any] | None = None, key: str = "net") -> str:
    """SVG text, with the provenance ``made`` as JSON inside ``<metadata>``. ``key`` keeps the arrow's name apart where
    several drawings lie in one page."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{scene.width:.0f}" height="{scene.height:.0f}" '
        f'viewBox="0 0 {scene.width:.0f} {scene.height:.0f}" role="img" font-family="{FONT}">'
        f"<title>{escape(scene.title)}</title>"
    )
    about = "" if made is None else f"<metadata>{escape(json.dumps(made))}</metadata>"
    arrow = (
        f'<defs><marker id="{key}-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0.8 L7.5 4 L0 7.2 z" fill="{LINE}"/></marker></defs>'
    )
    paper = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
    return "\n".join([head, about, arrow, paper, *(_svg(one, key) for one in scene.shapes), "</svg>"])


def _svg(one: Shape, key: str) -> str:
    if isinstance(one, Text):
        turn = f' transform="rotate({-one.turn:g} {one.at[0]:.1f} {one.at[1]:.1f})"' if one.turn else ""
        bold = ' font-weight="bold"' if one.bold else ""
        return (
            f'<text x="{one.at[0]:.1f}" y="{one.at[1]:.1f}" font-size="{one.size:g}" text-anchor="{one.anchor}" '
            f'dominant-baseline="central" fill="{one.colour}"{bold}{turn}>{escape(one.words)}</text>'
        )
    data = "".join(f' data-{name}="{escape(value)}"' for name, value in one.data.items())
    if isinstance(one, Path):
        moves = [f"C{a:.1f} {b:.1f} {c:.1f} {d:.1f} {x:.1f} {y:.1f}" for _, (a, b), (c, d), (x, y) in segments(one)]
        tip = f' marker-end="url(#{key}-arrow)"' if one.arrow else ""
        start = f"M{one.points[0][0]:.1f} {one.points[0][1]:.1f}"
        return f'<path d="{start} {" ".join(moves)}" fill="none" stroke="{LINE}" stroke-width="1.3"{tip}{data}/>'
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in one.points)
    dash = ' stroke-dasharray="5 4"' if one.dash else ""
    inner = f"<title>{escape(one.title)}</title>" if one.title else ""
    return (
        f'<polygon points="{corners}" fill="{one.fill}" stroke="{one.edge}" stroke-width="{one.width:g}" '
        f'stroke-linejoin="round"{dash}{data}>{inner}</polygon>'
    )


def figure(scene: Scene) -> Figure:
    """The same as a matplotlib figure, 100 pixels an inch, not registered with pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(scene.width / 100, scene.height / 100), dpi=100, facecolor=PAPER)
    FigureCanvasAgg(drawn)
    axes = drawn.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, scene.width), ylim=(scene.height, 0))
    axes.axis("off")
    for order, one in enumerate(scene.shapes):
        _draw(axes, one, order)
    return drawn


def _draw(axes: Any, one: Shape, order: int) -> None:
    from matplotlib import patches
    from matplotlib.path import Path as Curve

    points = 0.72  # a pixel of the scene in points
    if isinstance(one, Text):
        align = {"start": "left", "middle": "center", "end": "right"}[one.anchor]
        weight = "bold" if one.bold else "normal"
        options = {"fontsize": one.size * points, "color": one.colour, "ha": align, "va": "center", "weight": weight}
        axes.text(
            *one.at, one.words, rotation=one.turn, rotation_mode="anchor", zorder=order, parse_math=False, **options
        )
    elif isinstance(one, Path):
        curves = segments(one)
        vertices = [curves[0][0], *(point for curve in curves for point in curve[1:])]
        codes = [Curve.MOVETO, *([Curve.CURVE4] * 3 * len(curves))]
        style = "-|>,head_length=3.5,head_width=2" if one.arrow else "-"
        line = Curve(vertices, codes)
        axes.add_patch(
            patches.FancyArrowPatch(
                path=line, arrowstyle=style, color=LINE, lw=1.3 * points, zorder=order, shrinkA=0, shrinkB=0
            )
        )
    else:
        dashes = (0, (5, 4)) if one.dash else "-"
        shape = patches.Polygon(
            one.points, facecolor=one.fill, edgecolor=one.edge, lw=one.width * points, ls=dashes, zorder=order
        )
        axes.add_patch(shape)
