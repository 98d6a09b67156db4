"""The study's figures: against SciPy and scikit-image, by hand, and where they are not defined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kits import recompute

from vizkit.reports.compare import cells, numbers, pairs
from vizkit.reports.compare.cells import Cell
from vizkit.reports.compare.numbers import Side


def compared(a: Any, b: Any) -> numbers.Numbers:
    return numbers.compare(Side(np.asarray(a)), Side(np.asarray(b)))


@pytest.mark.quick
@pytest.mark.parametrize("shape", [(5, 23, 19), (31, 40), (12, 7, 7), (3, 6, 9), (200,), (7,)])
@pytest.mark.parametrize("kind", ["plain", "rectified", "whole"])
def test_equals_scipy_and_scikit_image(shape: tuple[int, ...], kind: str, rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, *shape)).astype(np.float32)
    b = a + np.float32(0.1) * b
    if kind == "rectified":  # half the values tie at zero
        a, b = np.maximum(a, 0), np.maximum(b, 0)
    if kind == "whole":  # ties everywhere, also at the border of the top 5 %
        a, b = np.round(2 * a), np.round(2 * b)
    found = compared(a, b)
    assert not recompute.differing(found, recompute.comparison(a.astype(np.float64), b.astype(np.float64)))
    assert (found["ssim"] is None) == (len(shape) == 1 or min(shape[-2:]) < 7)


@pytest.mark.quick
def test_by_hand() -> None:
    found = compared([3.0, 4.5], [3.0, 4.0])
    assert found["largest_absolute"] == 0.5
    assert found["largest_relative"] == 0.125
    assert found["relative_l2"] == pytest.approx(0.1, rel=1e-15)
    assert found["cosine"] == pytest.approx(27 / (5 * np.sqrt(29.25)), rel=1e-15)
    assert found["pearson"] == pytest.approx(1)
    assert found["spearman"] == pytest.approx(1)
    assert found["top_intersection"] == 1
    sizes = np.arange(1.0, 41.0)  # the top 5 % are two positions
    other = sizes.copy()
    other[[0, 39]] = -100.0, 0.5
    assert compared(sizes, other)["top_intersection"] == 0.5
    assert compared(sizes, -sizes)["top_intersection"] == 1
    assert compared(sizes, -sizes)["spearman"] == pytest.approx(-1)
    assert compared(sizes, sizes) == {
        **dict.fromkeys(("largest_absolute", "largest_relative", "relative_l2"), 0.0),
        **dict.fromkeys(("cosine", "pearson", "spearman"), pytest.approx(1, abs=1e-15)),
        "ssim": None,
        "top_intersection": 1.0,
    }


@pytest.mark.quick
def test_what_is_not_defined_is_none() -> None:
    zero, one = np.zeros((9, 9)), np.ones((9, 9))
    nothing = compared(zero, zero)
    assert nothing["relative_l2"] == nothing["largest_absolute"] == 0
    assert [nothing[name] for name in ("cosine", "pearson", "spearman", "ssim")] == [None] * 4
    assert compared(one, zero)["relative_l2"] is None
    assert compared(one, zero)["largest_absolute"] == 1
    assert compared(one, np.where(np.eye(9) > 0, np.nan, 1.0)) == dict.fromkeys(numbers.METRICS)


@pytest.mark.quick
def test_agreement_of_predictions() -> None:
    a, b = np.array([9.0, 8, 7, 6, 5, 4, 3]), np.array([8.0, 9, 7, 6, 4, 5, 3])
    assert numbers.agreement(a, a) == {"top1": 1.0, "top5": 1.0}
    assert numbers.agreement(a, b) == {"top1": 0.0, "top5": 0.8}
    assert numbers.agreement(a, a * np.nan) == {"top1": None, "top5": None}


def made(folder: Path, backend: str, dtype: str, arrays: dict[str, np.ndarray]) -> Cell:
    """A finished cell with arrays of our own."""
    cell = Cell("net", "random:1", backend, dtype, "feature_maps", "a.png", Path("a.png"), f"{backend} {dtype}")
    cells.write(folder / cell.file, arrays, {})
    return cell


def study(folder: Path, errors: dict[str, float], judge: bool = True) -> list[pairs.Row]:
    """Rows of a study of three layers; from the second on each backend has its error against float64."""
    rng = np.random.default_rng(1)
    exact = {f"layers/{name}": rng.normal(size=(4, 8, 8)) for name in ("one", "two", "three")}
    done = []
    for backend, error in errors.items():
        values = {
            name: value
            if name == "layers/one"
            else value + error * np.linalg.norm(value) / 16 * rng.normal(size=(4, 8, 8))
            for name, value in exact.items()
        }
        done.append(made(folder, backend, "float32", values))
    if judge:
        done.append(made(folder, "torch", "float64", exact))
    return [row for group in pairs.listed(done) for row in pairs.rows(group, folder)]


@pytest.mark.quick
@pytest.mark.parametrize(("error", "verdict"), [(2e-2, "float32"), (0.2, "gluon")])
def test_a_map_is_off_only_beyond_what_rounding_does(error: float, verdict: str) -> None:
    sides = {"a": {"backend": "gluon", "file": "g"}, "b": {"backend": "torch", "file": "t"}}
    row = {"relation": "backends", "array": "values", "numbers": {"relative_l2": error}, **sides}
    judge = {"relation": "reference", "array": "values"}
    rows = [row] + [
        {**judge, "a": side, "numbers": {"relative_l2": share}}
        for side, share in zip(sides.values(), (error, 1e-6), strict=True)
    ]
    (found,) = pairs.verdicts(rows, 1e-5)
    assert found["verdict"] == verdict


@pytest.mark.parametrize(
    ("errors", "judge", "first", "verdict"),
    [
        ({"torch": 1e-7, "gluon": 1e-2}, True, "two", "gluon"),
        ({"torch": 1e-2, "gluon": 1e-7}, True, "two", "torch"),
        ({"torch": 1e-2, "gluon": 1.5e-2}, True, "two", "float32"),
        ({"torch": 1e-7, "gluon": 1e-2}, False, "two", None),
        ({"torch": 1e-7, "gluon": 3e-7}, True, None, "equal"),
        ({"torch": 1e-7, "gluon": np.nan}, True, "two", None),
    ],
)
def test_the_first_layer_that_diverges_and_who_is_off(
    tmp_path: Path, errors: dict[str, float], judge: bool, first: str | None, verdict: str | None
) -> None:
    rows = study(tmp_path, errors, judge)
    assert {row["relation"] for row in rows} == {"backends", *(["reference"] * judge)}
    (found,) = pairs.divergences(rows, 1e-5)
    assert found["first"] == first
    assert found["layers"] == 3
    assert found["verdict"] == verdict
    assert set(found["errors"]) == {"torch", "gluon"}
    if judge and verdict in errors:
        assert found["errors"][verdict] == pytest.approx(errors[verdict], rel=0.2)
    (off,) = [row for row in rows if row["relation"] == "backends" and row["array"] == "layers/one"]
    assert off["numbers"]["relative_l2"] == 0


@pytest.mark.quick
def test_what_is_no_number_counts_as_beyond(tmp_path: Path) -> None:
    rows = study(tmp_path, {"torch": 1e-7, "gluon": np.nan})
    assert pairs.worst(rows) == np.inf
    assert [pairs.beyond(row, 1.0) for row in rows if row["relation"] == "backends"] == [False, True, True]
