"""The classes of ``shapes``: a signed distance for the form, a tone for the texture, and the drawing of both.

A form is a function (u, v, objects) -> d and a texture a function (u, v, objects) -> t. ``u`` and ``v`` are pixel
coordinates (M, 96, 96) from the object's centre, in its own rotated axes; ``d`` is the distance to the outline in
pixels, negative inside (to first order: it is exact in sign everywhere, and its slope at the outline is near 1);
``t`` in 0..1 mixes the object's two colours. Every outline lies within ``radius`` of the centre.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from vizkit.zoo.shapes.draws import SIZE, Bools, Floats, Ints, rotated


@dataclass(frozen=True)
class Objects:
    """One object for each of N pictures. Lengths in pixels, angles in radians, colours RGB in 0..1."""

    label: Ints  #: (N,) index into CLASSES
    centre: Floats  #: (N, 2) x from the left edge, y from the upper edge
    radius: Floats  #: (N,) of the circle around the whole outline
    angle: Floats  #: (N,) rotation
    width: Floats  #: (N,) 0..1, how broad the band of a ring or the arm of a cross is
    wave: Floats  #: (N, 3) amplitudes of a blob's 2nd, 3rd and 5th harmonic; zeros make it a disc
    phase: Floats  #: (N, 3) their phases
    pitch: Floats  #: (N,) 0..1, from the finest to the coarsest texture
    shift: Floats  #: (N, 2) 0..1, where in its period the texture starts
    colour: Floats  #: (N, 2, 3) the two colours; a plain object shades from the one to the other

    def take(self, index: Ints | slice) -> Objects:
        """The objects at ``index``."""
        return Objects(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


Plane = Callable[[Floats, Floats, Objects], Floats]


def _wide(values: Floats) -> Floats:
    """(M,) as (M, 1, 1), to meet planes."""
    return values[:, None, None]


def _circle(u: Floats, v: Floats, o: Objects) -> Floats:
    return np.sqrt(u * u + v * v) - _wide(o.radius)


def _square(u: Floats, v: Floats, o: Objects) -> Floats:
    return np.maximum(np.abs(u), np.abs(v)) - _wide(o.radius * np.float32(np.sqrt(0.5)))


def _half_planes(u: Floats, v: Floats, count: int, inner: Floats) -> list[Floats]:
    """The distances to ``count`` lines at distance ``inner`` around the centre, their normals evenly spread."""
    angles = 2 * np.pi * np.arange(count) / count
    return [u * np.float32(np.cos(a)) + v * np.float32(np.sin(a)) - _wide(inner) for a in angles]


def _triangle(u: Floats, v: Floats, o: Objects) -> Floats:
    one, two, three = _half_planes(u, v, 3, o.radius * np.float32(0.5))
    return np.maximum(np.maximum(one, two), three)


def _star(u: Floats, v: Floats, o: Objects) -> Floats:
    """The pentagram: inside at least four of its five lines, so the second largest of their distances."""
    first, *rest = _half_planes(u, v, 5, o.radius * np.float32(np.cos(2 * np.pi / 5)))
    second: Floats = np.full_like(first, -np.inf)
    for distance in rest:
        np.maximum(second, np.minimum(first, distance), out=second)
        np.maximum(first, distance, out=first)
    return second


def _ring(u: Floats, v: Floats, o: Objects) -> Floats:
    half = o.radius * (np.float32(0.12) + np.float32(0.07) * o.width)
    middle: Floats = np.abs(np.sqrt(u * u + v * v) - _wide(o.radius - half))
    return middle - _wide(half)


def _cross(u: Floats, v: Floats, o: Objects) -> Floats:
    ratio = np.float32(0.24) + np.float32(0.12) * o.width
    arm = o.radius / np.sqrt(1 + ratio * ratio)
    across, along = np.abs(u), np.abs(v)
    near, far = np.minimum(across, along), np.maximum(across, along)
    return np.maximum(near - _wide(arm * ratio), far - _wide(arm))


def _add_angles(cosine: Floats, sine: Floats, other_cosine: Floats, other_sine: Floats) -> tuple[Floats, Floats]:
    """Cosine and sine of the sum of two angles."""
    return cosine * other_cosine - sine * other_sine, sine * other_cosine + cosine * other_sine


def _blob(u: Floats, v: Floats, o: Objects) -> Floats:
    """A disc whose radius waves around the angle; cos(kθ) and sin(kθ) from products, so without an arc tangent."""
    rho = np.sqrt(u * u + v * v) + np.float32(1e-3)
    cos1, sin1 = u / rho, v / rho
    cos2, sin2 = _add_angles(cos1, sin1, cos1, sin1)
    cos3, sin3 = _add_angles(cos2, sin2, cos1, sin1)
    cos5, sin5 = _add_angles(cos3, sin3, cos2, sin2)
    real, imaginary = o.wave * np.cos(o.phase), o.wave * np.sin(o.phase)
    reach = o.radius / (1 + o.wave.sum(1))
    outline = np.broadcast_to(_wide(reach), u.shape).copy()
    for k, (cosine, sine) in enumerate(((cos2, sin2), (cos3, sin3), (cos5, sin5))):
        outline += cosine * _wide(reach * real[:, k]) - sine * _wide(reach * imaginary[:, k])
    return rho - outline


def _plain(u: Floats, v: Floats, o: Objects) -> Floats:
    return np.float32(0.5) + u * _wide(np.float32(0.5) / o.radius)


def _period(o: Objects, fine: float, coarse: float) -> Floats:
    """(M,) a texture's period: from ``fine`` pixels to ``coarse`` radii."""
    span: Floats = np.maximum(np.float32(coarse) * o.radius - np.float32(fine), 0)
    return np.float32(fine) + o.pitch * span


def _centred(axis: Floats, period: Floats, start: Floats) -> Floats:
    """The position within the period, -0.5 to 0.5."""
    turns: Floats = axis * _wide(1 / period) + _wide(start)
    whole: Floats = np.floor(turns)
    return turns - whole - np.float32(0.5)


def _bands(axis: Floats, period: Floats, start: Floats) -> Floats:
    """A square wave in 0..1 with antialiased edges."""
    edge = np.abs(_centred(axis, period, start)) - np.float32(0.25)
    return np.clip(edge * _wide(period) + np.float32(0.5), 0, 1)


def _stripes(u: Floats, v: Floats, o: Objects) -> Floats:
    return _bands(u, _period(o, 5, 0.5), o.shift[:, 0])


def _checkerboard(u: Floats, v: Floats, o: Objects) -> Floats:
    period = _period(o, 8, 0.8)
    columns, rows = _bands(u, period, o.shift[:, 0]), _bands(v, period, o.shift[:, 1])
    return columns + rows - 2 * columns * rows


def _dots(u: Floats, v: Floats, o: Objects) -> Floats:
    period = _period(o, 6, 0.5)
    across, along = _centred(u, period, o.shift[:, 0]), _centred(v, period, o.shift[:, 1])
    distance = (np.sqrt(across * across + along * along) - np.float32(0.3)) * _wide(period)
    return np.clip(distance + np.float32(0.5), 0, 1)


_DRAWN: dict[str, tuple[Plane, Plane]] = {
    "circle": (_circle, _plain),
    "square": (_square, _plain),
    "triangle": (_triangle, _plain),
    "star": (_star, _plain),
    "ring": (_ring, _plain),
    "cross": (_cross, _plain),
    "stripes": (_blob, _stripes),
    "checkerboard": (_blob, _checkerboard),
    "dots": (_blob, _dots),
    "red blob": (_blob, _plain),
    "green blob": (_blob, _plain),
    "blue blob": (_blob, _plain),
}

CLASSES: tuple[str, ...] = tuple(_DRAWN)
"""The labels: index i is the class of output i of the network."""

HUES: dict[str, float] = {"red blob": 0.0, "green blob": 1 / 3, "blue blob": 2 / 3}
"""The hue, in turns, of the classes that are told by their colour."""

TEXTURED: tuple[str, ...] = ("stripes", "checkerboard", "dots")
"""The classes that are told by their texture, whatever their outline."""


def rasterise(objects: Objects) -> tuple[Floats, Floats, Bools]:
    """Draws M objects, class by class.

    Returns:
        The coverage of each pixel (M, 96, 96) float32 in 0..1 with antialiased edges, the tone (M, 96, 96) float32
        in 0..1 inside the object, and the mask (M, 96, 96) bool of the pixels whose centre lies inside.
    """
    shape = (len(objects.label), SIZE, SIZE)
    coverage, tone, mask = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.bool_)
    for label in np.unique(objects.label):
        index = np.flatnonzero(objects.label == label)
        these = objects.take(index)
        form, texture = _DRAWN[CLASSES[label]]
        u, v = rotated(these.centre, these.angle)
        distance = form(u, v, these)
        coverage[index] = np.clip(np.float32(0.5) - distance, 0, 1)
        mask[index] = distance < 0
        tone[index] = texture(u, v, these)
    return coverage, tone, mask
