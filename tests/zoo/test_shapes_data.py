"""The ``shapes`` data set holds what it promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vizkit.errors import SettingError
from vizkit.zoo import shapes
from vizkit.zoo.shapes import forms
from vizkit.zoo.shapes.draws import SIZE
from vizkit.zoo.shapes.sampling import Samples

COUNT = 600


@pytest.fixture(scope="module")
def one() -> Samples:
    return shapes.sample(COUNT, seed=11)


@pytest.fixture(scope="module")
def two() -> Samples:
    return shapes.sample(COUNT, seed=11, objects=2)


def of_class(samples: Samples, name: str) -> np.ndarray:
    found = np.flatnonzero(samples.labels == shapes.CLASSES.index(name))
    assert len(found) >= 20
    return found


def same(a: Samples, b: Samples) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("images", "labels", "masks"))


def test_shapes_and_types(one: Samples, two: Samples) -> None:
    assert len(shapes.CLASSES) == len(set(shapes.CLASSES)) >= 12
    assert (one.images.shape, one.images.dtype) == ((COUNT, 96, 96, 3), np.uint8)
    assert (one.labels.shape, one.labels.dtype) == ((COUNT,), np.int64)
    assert (one.masks.shape, one.masks.dtype) == ((COUNT, 96, 96), np.bool_)
    assert two.images.shape == (COUNT, 96, 96, 3)
    assert (two.labels.shape, two.masks.shape) == ((COUNT, 2), (COUNT, 2, 96, 96))
    assert len(one) == len(two) == COUNT
    assert shapes.sample(0, seed=0).images.shape == (0, 96, 96, 3)


@pytest.mark.parametrize("objects", [1, 2])
def test_a_seed_repeats_and_its_pictures_do_not_depend_on_how_many(objects: int) -> None:
    whole = shapes.sample(100, seed=5, objects=objects)
    assert same(whole, shapes.sample(100, seed=5, objects=objects))
    for n in (1, 7, 8, 9, 24, 25, 61):
        head = Samples(whole.images[:n], whole.labels[:n], whole.masks[:n])
        assert same(head, shapes.sample(n, seed=5, objects=objects)), n


@pytest.mark.quick
def test_seeds_splits_and_counts_of_objects_are_unrelated() -> None:
    drawn = [
        shapes.sample(48, 5),
        shapes.sample(48, 6),
        shapes.sample(48, 5, split="train"),
        shapes.sample(48, 5, objects=2),
    ]
    pictures = {image.tobytes() for samples in drawn for image in samples.images}
    assert len(pictures) == 4 * 48


def test_every_run_of_twelve_holds_every_class(one: Samples, two: Samples) -> None:
    for labels in (one.labels, two.labels[:, 0]):
        assert (np.sort(labels.reshape(-1, len(shapes.CLASSES)), 1) == np.arange(len(shapes.CLASSES))).all()
    counts = np.bincount(two.labels[:, 1], minlength=len(shapes.CLASSES))
    assert counts.min() > COUNT / len(shapes.CLASSES) / 2


def test_masks_lie_inside_and_are_neither_tiny_nor_huge(one: Samples, two: Samples) -> None:
    for masks in (one.masks, two.masks.reshape(-1, 96, 96)):
        assert not masks[:, [0, -1]].any()
        assert not masks[:, :, [0, -1]].any()
        share = masks.mean((1, 2))
        assert share.min() > 0.012
        assert share.max() < 0.32
    assert one.masks.mean((1, 2)).std() > 0.03


def test_places_spread_over_the_picture(one: Samples) -> None:
    rows, columns = (np.array([np.nonzero(mask)[axis].mean() for mask in one.masks]) for axis in (0, 1))
    for centre in (rows, columns):
        assert abs(centre.mean() - 47.5) < 3
        assert centre.min() < 24
        assert centre.max() > 72


def test_objects_differ_from_what_is_around_them(one: Samples) -> None:
    for image, mask in zip(one.images, one.masks, strict=True):
        wide = mask.copy()
        for _ in range(6):
            wide[1:-1, 1:-1] |= wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
        inside, around = (image[part].astype(float).mean(0) for part in (mask, wide & ~mask))
        spread = image[mask].astype(float).std(0).max()
        assert np.linalg.norm(inside - around) > 25 or spread > 45


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Samples:
    """The pictures of ``one`` without their objects."""

    def nothing(objects: forms.Objects) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        empty = np.zeros((len(objects.label), SIZE, SIZE), np.float32)
        return empty, empty, empty.astype(bool)

    monkeypatch.setattr("vizkit.zoo.shapes.sampling.rasterise", nothing)
    return shapes.sample(COUNT, seed=11)


def test_masks_are_where_the_object_is_drawn(one: Samples, bare: Samples) -> None:
    """With and without their objects pictures differ inside the mask, and outside it only by an antialiased edge
    or tip."""
    changed = (one.images != bare.images).any(-1)
    grown = one.masks.copy()
    for axis in (1, 1, 1, 2, 2, 2):
        grown |= np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
    assert not (changed & ~grown).any()
    assert (changed & one.masks).sum() > 0.99 * one.masks.sum()


def test_backgrounds_do_not_know_the_class(bare: Samples) -> None:
    """Class means of the backgrounds' colour and contrast differ no more than those of a random grouping would."""
    facts = np.concatenate([bare.images.mean((1, 2)), bare.images.std((1, 2))], 1)
    facts = (facts - facts.mean(0)) / facts.std(0)
    by_class = np.array([facts[bare.labels == label].mean(0) for label in range(len(shapes.CLASSES))])
    assert np.abs(by_class).max() < 4 / np.sqrt(COUNT / len(shapes.CLASSES))


def test_two_objects_are_of_two_classes_and_do_not_touch(two: Samples) -> None:
    assert (two.labels[:, 0] != two.labels[:, 1]).all()
    first, second = two.masks[:, 0], two.masks[:, 1]
    grown = first.copy()
    for axis in (1, 2):
        grown |= np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
    assert not (grown & second).any()
    assert (first.any((1, 2)) & second.any((1, 2))).all()
    pairs = {tuple(sorted(pair)) for pair in two.labels.tolist()}
    assert len(pairs) > 60


@pytest.mark.parametrize(("name", "channel"), [("red blob", 0), ("green blob", 1), ("blue blob", 2)])
def test_coloured_blobs_have_their_colour(one: Samples, name: str, channel: int) -> None:
    for i in of_class(one, name):
        colour = one.images[i][one.masks[i]].astype(float).mean(0)
        assert colour.argmax() == channel
        assert colour[channel] > np.delete(colour, channel).max() + 35


@pytest.mark.parametrize("name", ["circle", "square", "triangle", "star", "ring", "cross"])
def test_forms_come_in_all_colours(one: Samples, name: str) -> None:
    colours = np.array([one.images[i][one.masks[i]].mean(0) for i in of_class(one, name)])
    assert set(colours.argmax(1).tolist()) == {0, 1, 2}


def fullness(samples: Samples, name: str) -> np.ndarray:
    """Each mask's area over that of the circle around it, centred on the bounding box."""
    found = []
    for i in of_class(samples, name):
        rows, columns = np.nonzero(samples.masks[i])
        centre = rows.mean(), columns.mean()
        reach = np.hypot(rows - centre[0], columns - centre[1]).max() + 0.5
        found.append(len(rows) / (np.pi * reach**2))
    return np.array(found)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("circle", 0.90, 1.02),  # 1
        ("square", 0.57, 0.69),  # 2 / pi = 0.637
        ("triangle", 0.36, 0.46),  # 3 sqrt(3) / 4 pi = 0.413
        ("star", 0.31, 0.40),  # 0.357
        ("ring", 0.39, 0.64),  # 1 - (1 - 2 * 0.12..0.19)²
        ("cross", 0.42, 0.66),
        ("red blob", 0.28, 0.86),
    ],
)
def test_forms_have_their_area(one: Samples, name: str, low: float, high: float) -> None:
    share = fullness(one, name)
    assert low < share.min()
    assert share.max() < high


def test_rings_are_hollow_and_circles_are_not(one: Samples) -> None:
    for name, filled in (("ring", False), ("circle", True)):
        for i in of_class(one, name):
            row, column = (round(axis.mean()) for axis in np.nonzero(one.masks[i]))
            assert one.masks[i, row, column] == filled


def test_textures_come_on_discs_and_on_blobs_and_in_two_colours(one: Samples) -> None:
    for name in forms.TEXTURED:
        share = fullness(one, name)
        assert share.max() > 0.93, "no disc"
        assert share.min() < 0.8, "no blob"
        for i in of_class(one, name):
            inside = one.images[i][one.masks[i]].astype(float)
            assert inside.std(0).max() > 25


@pytest.mark.quick
def test_edges_are_antialiased_and_masks_are_half_covered_pixels() -> None:
    count = len(shapes.CLASSES)
    objects = forms.Objects(
        label=np.arange(count),
        centre=np.full((count, 2), 48, np.float32),
        radius=np.full(count, 25, np.float32),
        angle=np.full(count, 0.4, np.float32),
        width=np.full(count, 0.5, np.float32),
        wave=np.full((count, 3), 0.1, np.float32),
        phase=np.full((count, 3), 0.3, np.float32),
        pitch=np.full(count, 0.5, np.float32),
        shift=np.full((count, 2), 0.2, np.float32),
        colour=np.zeros((count, 2, 3), np.float32),
    )
    for coverage, tone, mask in zip(*forms.rasterise(objects), strict=True):
        assert ((coverage > 0.5) == mask).all()
        assert 20 < ((coverage > 0) & (coverage < 1)).sum() < 0.35 * mask.sum()
        assert coverage.sum() == pytest.approx(mask.sum(), rel=0.02)
        assert 0 <= tone[mask].min() <= tone[mask].max() <= 1


@pytest.mark.quick
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shapes.sample(-1, 0), "n is -1; it must be a whole number, 0 or more"),
        (lambda: shapes.sample(2.5, 0), "n is 2.5"),
        (lambda: shapes.sample(True, 0), "n is True"),
        (lambda: shapes.sample(4, -3), "seed is -3"),
        (lambda: shapes.sample(4, None), "seed is None"),
        (lambda: shapes.sample(4, 0, objects=3), "objects is 3; a picture of shapes holds 1 object or 2"),
        (lambda: shapes.sample(4, 0, objects=True), "objects is True"),
        (lambda: shapes.sample(4, 0, split="val"), "split='val': expected 'train' or 'test'"),
    ],
)
def test_bad_settings_are_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        call()
