"""The ``shapes`` data set: any number of labelled pictures with masks, from a seed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vizkit.contract.errors import SettingError, one_of
from vizkit.zoo.shapes import backgrounds
from vizkit.zoo.shapes.draws import SIZE, Floats, Ints, apart, from_hsv, pick, uniform
from vizkit.zoo.shapes.forms import CLASSES, HUES, TEXTURED, Objects, rasterise

Split = Literal["train", "test"]

_BLOCK = 24
"""Pictures whose settings are drawn from one stream of random numbers."""

_STRIP = 8
"""Pictures rendered at once: few enough that what they need stays in a core's cache."""

TOLERANCE = 3.0
"""Pixels by which a map may miss an object in the pointing game: on pictures of a hundred pixels the paper's fifteen
would forgive everything."""

_CANDIDATES = 16
_RADII = {1: (15.0, 30.0), 2: (15.0, 21.0)}


@dataclass(frozen=True, eq=False)
class Samples:
    """N pictures of ``shapes`` with what is in them. The arrays are the caller's own and may be written to."""

    images: NDArray[np.uint8]
    """(N, 96, 96, 3), RGB in 0..255."""

    labels: NDArray[np.int64]
    """Indices into CLASSES: (N,) with one object, (N, 2) with two, in no meaningful order."""

    masks: NDArray[np.bool_]
    """The pixels whose centre lies in the object: (N, 96, 96), with two objects (N, 2, 96, 96) in the labels' order."""

    def __len__(self) -> int:
        return len(self.images)


def sample(n: int, seed: int, *, objects: int = 1, split: Split = "test") -> Samples:
    """Draws ``n`` pictures. Picture i of a seed is the same, byte for byte, whatever ``n`` is.

    The background is drawn without looking at the class. Of each run of twelve pictures (0 to 11, 12 to 23, …) every
    class has one, so the first twelve show all; with two objects this holds for the first label. The bytes repeat
    on one machine with one NumPy; elsewhere float32 rounding may move a value by one level.

    Args:
        n: how many pictures, 0 or more.
        seed: 0 or more.
        objects: 1, or 2 of different classes that do not overlap (smaller: 15 to 21 pixels in radius, not 15 to 30).
        split: ``"train"`` or ``"test"``: the same seed gives unrelated pictures in each, so nothing drawn from
            ``"test"`` was ever trained on.

    Returns:
        Samples with images uint8 (N, 96, 96, 3), labels int64 (N,) or (N, 2), masks bool (N, 96, 96) or (N, 2, 96, 96).

    Raises:
        SettingError: an argument outside what it may be.

    Example:
        >>> pair = sample(4, seed=0, objects=2)
        >>> pair.labels.shape, pair.masks.shape, bool(pair.masks.all(1).any())
        ((4, 2), (4, 2, 96, 96), False)
    """
    _check("n", n)
    _check("seed", seed)
    if objects not in _RADII or isinstance(objects, bool):
        raise SettingError(f"objects is {objects!r}; a picture of shapes holds 1 object or 2.")
    one_of("split", split, get_args(Split))
    found = Samples(
        images=np.empty((n, SIZE, SIZE, 3), np.uint8),
        labels=np.empty((n, objects), np.int64),
        masks=np.empty((n, objects, SIZE, SIZE), np.bool_),
    )
    fill = partial(_fill, found, (seed, objects, get_args(Split).index(split)))
    workers = min(os.cpu_count() or 1, -(-n // _BLOCK))
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(fill, range(0, n, _BLOCK)))
    elif n:
        fill(0)
    return found if objects == 2 else Samples(found.images, found.labels[:, 0], found.masks[:, 0])


def _check(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise SettingError(f"{name} is {value!r}; it must be a whole number, 0 or more.")


def _fill(found: Samples, stream: tuple[int, int, int], start: int) -> None:
    """Draws the block that begins at ``start``: its settings all at once, its pictures as far as they are wanted."""
    seed, objects, split = stream
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(objects, split, start // _BLOCK)))
    scene = backgrounds.draw(rng, _BLOCK)
    things = _place(rng, objects, scene.palette)
    for first in range(start, min(start + _BLOCK, len(found)), _STRIP):
        strip = slice(first, min(first + _STRIP, len(found)))
        inside = slice(strip.start - start, strip.stop - start)
        pieces = [thing.take(inside) for thing in things]
        for k, piece in enumerate(pieces):
            found.labels[strip, k] = piece.label
        picture = _render(rng, scene.take(inside), pieces, found.masks[strip])
        found.images[strip] = picture.transpose(0, 2, 3, 1)


def _render(
    rng: np.random.Generator, scene: backgrounds.Backgrounds, things: list[Objects], masks: NDArray[np.bool_]
) -> Floats:
    """Draws M pictures (M, 3, 96, 96), 0..255, and writes their objects' masks."""
    picture = backgrounds.render(scene)
    paint = np.empty_like(picture)
    for k, thing in enumerate(things):
        coverage, tone, masks[:, k] = rasterise(thing)
        first, second = thing.colour[:, 0, :, None, None], thing.colour[:, 1, :, None, None]
        np.multiply(tone[:, None], second - first, out=paint)
        paint += first
        paint -= picture
        paint *= coverage[:, None]
        picture += paint
    grain = rng.bit_generator.random_raw(picture.size // 8).astype("<u8", copy=False).view(np.uint8)
    amplitude = scene.grain[:, None, None, None]
    np.multiply(grain.reshape(picture.shape), amplitude, out=paint)
    paint += np.float32(0.5) - amplitude * np.float32(127.5)
    picture *= np.float32(255)
    picture += paint
    return np.clip(picture, 0, 255, out=picture)


def _place(rng: np.random.Generator, objects: int, palette: Floats) -> list[Objects]:
    """The settings of every object of a block: labels, sizes and places first, for both share one picture."""
    classes = len(CLASSES)
    first = np.concatenate([rng.permutation(classes) for _ in range(_BLOCK // classes)])
    radii = uniform(rng, *_RADII[objects], _BLOCK, objects)
    room = SIZE - 2 * (radii + 1)
    spots = (radii + 1)[..., None] + room[..., None] * uniform(rng, 0, 1, _BLOCK, objects, 2)
    if objects == 1:
        return [_object(rng, first, spots[:, 0], radii[:, 0], palette)]
    second = (first + 1 + rng.integers(0, classes - 1, _BLOCK)) % classes
    spots = _keep_apart(rng, radii)
    return [_object(rng, label, spots[:, k], radii[:, k], palette) for k, label in enumerate((first, second))]


def _keep_apart(rng: np.random.Generator, radii: Floats) -> Floats:
    """Centres (N, 2, 2) as x and y: the first of some random pairs that do not touch, or else opposite corners."""
    share = uniform(rng, 0, 1, len(radii), _CANDIDATES, 2, 2)
    share[:, -1] = np.array([[0, 0], [1, 1]], np.float32)
    edge = (radii + 1)[:, None, :, None]
    spots = edge + (SIZE - 2 * edge) * share
    distance = np.sqrt(((spots[:, :, 0] - spots[:, :, 1]) ** 2).sum(-1))
    free = distance > (radii.sum(1) + 2)[:, None]
    return np.asarray(spots[np.arange(len(radii)), free.argmax(1)], np.float32)


def _object(rng: np.random.Generator, label: Ints, spot: Floats, radius: Floats, palette: Floats) -> Objects:
    """One object per picture: everything about it but its class, place and size is random."""
    n = len(label)
    textured = np.isin(label, [CLASSES.index(name) for name in TEXTURED])
    wave = uniform(rng, 0.8, 1.2, n, 3) * np.array([0.17, 0.17, 0.07], np.float32)
    wave[textured & (rng.random(n) < 0.5)] = 0
    return Objects(
        label=label,
        centre=spot,
        radius=radius,
        angle=uniform(rng, 0, 2 * np.pi, n),
        width=uniform(rng, 0, 1, n),
        wave=wave,
        phase=uniform(rng, 0, 2 * np.pi, n, 3),
        pitch=uniform(rng, 0, 1, n),
        shift=uniform(rng, 0, 1, n, 2),
        colour=_colours(rng, label, textured, palette),
    )


def _colours(rng: np.random.Generator, label: Ints, textured: NDArray[np.bool_], palette: Floats) -> Floats:
    """Two colours (N, 2, 3) that stand out from the background and, on textured objects, from each other."""
    n = len(label)
    hue, saturation = uniform(rng, 0, 1, n, 2 * _CANDIDATES), uniform(rng, 0.2, 1, n, 2 * _CANDIDATES)
    value = uniform(rng, 0.1, 1, n, 2 * _CANDIDATES)
    for name, centre in HUES.items():
        told = label == CLASSES.index(name)
        hue[told] = np.float32(centre) + (hue[told] - np.float32(0.5)) * np.float32(0.08)
        saturation[told] = np.float32(0.78) + np.float32(0.22) * saturation[told]
        value[told] = np.float32(0.6) + np.float32(0.4) * value[told]
    candidates = from_hsv(hue, saturation, value)
    around = np.concatenate([palette, palette.mean(1, keepdims=True)], 1)
    free = apart(candidates, around)
    first = pick(candidates[:, :_CANDIDATES], np.minimum(free[:, :_CANDIDATES], np.float32(0.5)))
    rest = candidates[:, _CANDIDATES:]
    contrast = np.minimum(apart(rest, first[:, None]), np.float32(0.65))
    second = pick(rest, contrast + np.minimum(free[:, _CANDIDATES:], np.float32(0.3)))
    shade = first * uniform(rng, 0.7, 1, n, 1)
    return np.stack([first, np.where(textured[:, None], second, shade)], 1)
