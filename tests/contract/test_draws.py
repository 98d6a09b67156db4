"""Counted random numbers against SplitMix64 and Box and Muller's transform, written out here, and against what normal
numbers are like; the same in every backend."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from kits import TRAPS, TRAPS_SIZE, kit
from scipy import stats

import vizkit
from vizkit.contract import draws
from vizkit.errors import SettingError

WORD = 2**64


class SplitMix64:
    """Steele, Lea & Flood 2014, as published: a counter, and a finaliser."""

    def __init__(self, state: int) -> None:
        self.state = state

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) % WORD
        return mixed(self.state)


def mixed(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


def key_by_hand(seed: int, number: int) -> tuple[int, int]:
    state = 0
    while seed:
        state, seed = mixed((state ^ seed) % WORD), seed // WORD
        state += 0x9E3779B97F4A7C15 if seed else 0  # or a low word of zeros would leave no trace
    words = SplitMix64(state)
    for _ in range(number + 1):
        found = words.next()
    return found // 2**40, found // 2**16 % 2**24


def normal_by_hand(key: tuple[int, int], count: int) -> list[float]:
    words = SplitMix64(mixed(key[0] * 2**24 + key[1]))
    near, far = [], []
    for _ in range(math.ceil(count / 2)):
        word = words.next()
        radius = math.sqrt(-2 * math.log((word // 2**32 + 1) / 2**32))
        angle = 2 * math.pi * (word % 2**32) / 2**32
        near.append(radius * math.cos(angle))
        far.append(radius * math.sin(angle))
    return (near + far)[:count]


@pytest.mark.quick
def test_the_reference_is_splitmix64() -> None:
    """Its first numbers from 1234567, as others have printed them."""
    words = SplitMix64(1234567)
    assert [words.next() for _ in range(5)] == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip


@pytest.mark.quick
@pytest.mark.parametrize("seed", [0, 1, 7, 2**24, 2**63, 2**64 - 1, 2**64, 2**64 + 7, 3**100])
def test_keys(seed: int) -> None:
    numbers = [0, 1, 2, 50, 3]
    np.testing.assert_array_equal(draws.keys(seed, numbers), [key_by_hand(seed, one) for one in numbers])


@pytest.mark.quick
def test_keys_are_whole_numbers_that_float32_holds_and_none_comes_twice() -> None:
    seeds = (0, 1, 2, 2**64, 2**64 + 1, 2**64 + 2, 2**65, 2**128)
    found = np.concatenate([draws.keys(seed, range(2000)) for seed in seeds])
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, found.astype(np.float32))
    np.testing.assert_array_equal(found, np.floor(found))
    assert found.min() >= 0
    assert found.max() < 2**24
    assert len(np.unique(found, axis=0)) == len(found)
    assert draws.keys(5, []).shape == (0, 2)


@pytest.mark.quick
def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(SettingError, match="seed=-1: give a number from 0"):
        draws.keys(-1, range(2))


COUNTS = [1, 2, 3, 10, 11, 2 * draws.BLOCK - 1, 2 * draws.BLOCK, 2 * draws.BLOCK + 1, 4 * draws.BLOCK + 6]
"""Odd and even, and on both sides of a block's end."""


@pytest.mark.parametrize("count", COUNTS)
def test_normal_numbers(count: int) -> None:
    keys = [(0, 0), (1, 0), (0, 1), (2**24 - 1, 2**24 - 1), key_by_hand(3, 4)]
    expected = [normal_by_hand(key, count) for key in keys]
    found = draws.normal(np.array(keys, dtype=np.float64), count)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-15, atol=1e-15)
    np.testing.assert_array_equal(draws.normal(np.array(keys, dtype=np.float32), count), found)


@pytest.mark.parametrize("seed", [0, 1, 2**70])
def test_they_are_normal(seed: int) -> None:
    found = draws.normal(draws.keys(seed, range(40)), 10_001)
    every = found.ravel()
    count = len(every)
    assert stats.kstest(every, "norm").pvalue > 1e-3
    assert abs(every.mean()) < 3 / math.sqrt(count)
    assert abs(every.var() - 1) < 3 * math.sqrt(2 / count)
    assert abs(stats.skew(every)) < 3 * math.sqrt(6 / count)
    assert abs(stats.kurtosis(every)) < 3 * math.sqrt(24 / count)
    assert 4 < np.abs(every).max() < math.sqrt(64 * math.log(2))  # what 32 bits can give
    means = found.mean(axis=1) * math.sqrt(found.shape[1])
    assert stats.kstest(means, "norm").pvalue > 1e-3
    assert (found[:, :5000] != found[:, 5001:]).all()


@pytest.mark.quick
def test_no_number_tells_of_another() -> None:
    """Neighbours in a row, halves of a row, neighbouring samples, and neighbouring seeds."""
    count = 100_000
    rows = np.concatenate([draws.normal(draws.keys(seed, range(3)), count) for seed in (0, 1, 2**64)])
    pairs = list(itertools.combinations(rows, 2))
    pairs += [(row[:-1], row[1:]) for row in rows] + [(row[: count // 2], row[count // 2 :]) for row in rows]
    for a, b in pairs:
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / math.sqrt(len(a))
        assert abs(np.corrcoef(a**2, b**2)[0, 1]) < 4 / math.sqrt(len(a))


@pytest.mark.quick
def test_a_row_depends_on_its_key_alone() -> None:
    keys = draws.keys(9, range(6))
    whole = draws.normal(keys, 77)
    np.testing.assert_array_equal(draws.keys(9, [4, 1]), keys[[4, 1]])
    np.testing.assert_array_equal(draws.normal(keys[[4, 1]], 77), whole[[4, 1]])
    for key, row in zip(keys, whole, strict=True):
        np.testing.assert_array_equal(draws.normal(key[None], 77)[0], row)
    before = keys.copy()
    draws.normal(keys, 5)
    np.testing.assert_array_equal(keys, before)


def ops_of(name: str, dtype: str) -> Any:
    native = kit(name).sequential(TRAPS, dtype=dtype)
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3).ops


SHAPES = [(1,), (2,), (3, 5, 7), (3, 16, 16), (3, 97, 101), (1, 64, 131)]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-15), ("float32", 1e-6)])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_backend_makes_the_same(name: str, dtype: str, tolerance: float, shape: tuple[int, ...]) -> None:
    ops = ops_of(name, dtype)
    keys = draws.keys(2**64 + 5, range(3, 8))
    expected = draws.normal(keys, math.prod(shape)).reshape(5, *shape)
    native = ops.asarray(keys)
    found = ops.numpy(ops.normal(native, shape))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(ops.numpy(native), keys)  # not written
    np.testing.assert_array_equal(ops.numpy(ops.normal(native[2:4], shape)), found[2:4])
    one_by_one = [ops.numpy(ops.normal(native[k : k + 1], shape))[0] for k in range(5)]
    np.testing.assert_array_equal(one_by_one, found)
