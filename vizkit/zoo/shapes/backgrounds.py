"""Cluttered, textured backgrounds for ``shapes``, drawn without looking at the object's class.

Everything smooth is a sum of products of a row profile, a column profile and a colour, so one matrix product per
picture draws it: a colour gradient, waves (sin(a + b) splits into products), soft glows, small soft specks (a round
Gaussian is a product) and random mottling on a coarse grid. Line segments are drawn over it. None of these is a
member of a class: waves in many directions and without edges are no stripes, specks and segments no shapes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from vizkit.zoo.shapes.draws import GRID, SIZE, Floats, from_hsv, rotated, uniform

_WAVES, _GLOWS, _SPECKS, _CELLS, _LINES = 5, 3, 10, 20, 4


@dataclass(frozen=True)
class Backgrounds:
    """N backgrounds: the factors of their smooth part, and their segments."""

    rows: Floats  #: (N, 96, K) profiles down the picture
    columns: Floats  #: (N, 3, K, 96) profiles along it, times their colours
    palette: Floats  #: (N, 2, 3) the two colours that the gradient runs between, RGB in 0..1
    middle: Floats  #: (N, 4, 2) the segments' centres (x, y), in pixels
    direction: Floats  #: (N, 4) the segments' angles
    half: Floats  #: (N, 4, 2) half their lengths and half their widths, in pixels
    ink: Floats  #: (N, 4, 3) their colours, RGB in 0..1
    grain: Floats  #: (N,) the amplitude of the noise on every pixel of the finished picture, object and all, 0..1

    def take(self, index: slice) -> Backgrounds:
        """The backgrounds at ``index``."""
        return Backgrounds(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def _gaussian(centre: Floats, width: Floats) -> Floats:
    """exp(-d²/2) of the distance of every pixel along one axis in widths: (N, J) and (N, J) give (N, J, 96)."""
    distance = (GRID - centre[..., None]) / width[..., None]
    return np.asarray(np.exp(np.float32(-0.5) * distance * distance), np.float32)


def _interpolation() -> Floats:
    """(20, 96): the weights with which a coarse grid's values make up each pixel, a smooth kernel."""
    position = np.arange(_CELLS, dtype=np.float32) * np.float32(SIZE / (_CELLS - 1))
    weight = np.exp(np.float32(-0.5) * ((GRID - position[:, None]) / np.float32(0.5 * SIZE / _CELLS)) ** 2)
    return np.asarray(weight / weight.sum(0), np.float32)


_MOTTLE = _interpolation()


def draw(rng: np.random.Generator, n: int) -> Backgrounds:
    """Draws the settings of ``n`` backgrounds.

    Saturation is at most 0.5, so that the strongly coloured classes stand out from every background.
    """
    palette = from_hsv(uniform(rng, 0, 1, n, 2), uniform(rng, 0, 0.5, n, 2), uniform(rng, 0.1, 0.9, n, 2))
    down: list[Floats] = []
    along: list[Floats] = []
    tint: list[Floats] = []

    def add(row: Floats, column: Floats, colour: Floats) -> None:
        """Adds J terms: rows and columns (N, J, 96), colours (N, J, 3)."""
        down.append(row)
        along.append(column)
        tint.append(colour)

    ones, ramp = np.ones((n, 1, SIZE), np.float32), np.broadcast_to(GRID / SIZE - np.float32(0.5), (n, 1, SIZE))
    slope = uniform(rng, 0, 2 * np.pi, n, 1, 1)
    across = palette[:, 1:] - palette[:, :1]
    add(ones, ones, palette.mean(1, keepdims=True))
    add(ones, ramp, across * np.cos(slope) * np.float32(0.8))
    add(ramp, ones, across * np.sin(slope) * np.float32(0.8))

    fan = uniform(rng, 0, np.pi, n, 1) + np.arange(_WAVES, dtype=np.float32) * np.float32(np.pi / _WAVES)
    direction = fan + uniform(rng, -0.3, 0.3, n, _WAVES)
    length = np.exp(uniform(rng, np.log(7), np.log(50), n, _WAVES))
    phase = uniform(rng, 0, 2 * np.pi, n, _WAVES, 1)
    strength = uniform(rng, 0, 0.07, n, 1, 1) * uniform(rng, 0.6, 1, n, _WAVES, 1)
    colour = strength * (1 + uniform(rng, -0.6, 0.6, n, _WAVES, 3))
    x_turn = GRID * (2 * np.pi * np.cos(direction) / length).astype(np.float32)[..., None] + phase
    y_turn = GRID * (2 * np.pi * np.sin(direction) / length).astype(np.float32)[..., None]
    add(np.cos(y_turn), np.sin(x_turn), colour)
    add(np.sin(y_turn), np.cos(x_turn), colour)

    centre, width = uniform(rng, 0, SIZE, n, _GLOWS, 2), uniform(rng, 8, 24, n, _GLOWS)
    add(_gaussian(centre[..., 1], width), _gaussian(centre[..., 0], width), uniform(rng, -0.22, 0.22, n, _GLOWS, 3))
    centre, width = uniform(rng, 0, SIZE, n, _SPECKS, 2), uniform(rng, 0.9, 2.2, n, _SPECKS)
    hue = from_hsv(uniform(rng, 0, 1, n, _SPECKS), uniform(rng, 0.2, 1, n, _SPECKS), uniform(rng, 0, 1, n, _SPECKS))
    add(_gaussian(centre[..., 1], width), _gaussian(centre[..., 0], width), hue - palette.mean(1, keepdims=True))

    columns = np.concatenate(along, 1)[:, None] * np.concatenate(tint, 1).transpose(0, 2, 1)[..., None]
    strength = uniform(rng, 0, 0.22, n, 1, 1, 1)
    mottle = uniform(rng, -1, 1, n, 1, _CELLS, _CELLS) + np.float32(0.5) * uniform(rng, -1, 1, n, 3, _CELLS, _CELLS)
    down.append(np.broadcast_to(_MOTTLE, (n, _CELLS, SIZE)))

    return Backgrounds(
        rows=np.ascontiguousarray(np.concatenate(down, 1).transpose(0, 2, 1)),
        columns=np.concatenate([columns, np.matmul(strength * mottle, _MOTTLE)], 2),
        palette=palette,
        middle=uniform(rng, 0, SIZE, n, _LINES, 2),
        direction=uniform(rng, 0, np.pi, n, _LINES),
        half=np.stack([uniform(rng, 5, 40, n, _LINES), uniform(rng, 0.4, 1.8, n, _LINES)], -1),
        ink=from_hsv(uniform(rng, 0, 1, n, _LINES), uniform(rng, 0, 1, n, _LINES), uniform(rng, 0.05, 1, n, _LINES)),
        grain=uniform(rng, 0.02, 0.12, n),
    )


def render(backgrounds: Backgrounds) -> Floats:
    """The pictures: (M, 3, 96, 96) float32, about 0..1 and not clipped."""
    # Half a picture at a time: BLAS would share a larger product out among threads of its own, which only get in
    # the way of the threads that call this function.
    halves = backgrounds.rows.reshape(-1, 1, 2, SIZE // 2, backgrounds.rows.shape[-1])
    picture: Floats = np.matmul(halves, backgrounds.columns[:, :, None]).reshape(-1, 3, SIZE, SIZE)
    change = np.empty_like(picture)
    for k in range(_LINES):
        u, v = rotated(backgrounds.middle[:, k], backgrounds.direction[:, k])
        reach = backgrounds.half[:, k, :, None, None] + np.float32(0.5)
        np.subtract(reach[:, 0], np.abs(u, out=u), out=u)
        np.subtract(reach[:, 1], np.abs(v, out=v), out=v)
        cover = np.clip(np.minimum(u, v, out=u), 0, 1, out=u)
        np.subtract(backgrounds.ink[:, k, :, None, None], picture, out=change)
        change *= cover[:, None]
        picture += change
    return picture
