"""What a target means, and that a device finds the same logits by itself: on every backend, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kits import TRAPS, TRAPS_SIZE, kit

import vizkit
from vizkit import targets
from vizkit.errors import SettingError, UnknownNameError
from vizkit.targets import Dense, Table
from vizkit.techniques.common.job import pick

LABELS = ("ant", "bee", "cat", "dog", "eel")


@pytest.fixture
def model(name: str) -> Any:
    native = kit(name).sequential(TRAPS)
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3, labels=LABELS)


LOGITS = np.array([[0.5, 2.0, -1.0, 2.0, 0.0], [-3.0, -2.0, -1.0, -9.0, -1.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
CASES: list[tuple[Any, list[float]]] = [
    (3, [2.0, -9.0, 1.0]),
    ("bee", [2.0, -2.0, 1.0]),
    ("4", [0.0, -1.0, 1.0]),
    (np.int64(0), [0.5, -3.0, 1.0]),
    (None, [2.0, -1.0, 1.0]),
    ("all", [3.5, -16.0, 5.0]),
    ([None, "all", "dog"], [2.0, -16.0, 1.0]),
]


@pytest.mark.parametrize(("target", "expected"), CASES)
def test_the_device_finds_the_targets_logits(model: Any, target: Any, expected: list[float]) -> None:
    """The same as the host does, which names the classes too; the top-1 is the first of equals."""
    ops, table, asked = model.ops, Table(Dense.of(model)), targets.listed(target, 3)
    marks = targets.marks(model, table, asked)
    assert marks.shape == (3, 6)
    weight = ops.asarray(marks)

    def score(leaves: dict[str, Any]) -> Any:
        found = targets.score(ops, table, leaves["logits"], weight)
        return found, found

    _, gradients, found = ops.value_and_grad(score, {"logits": ops.asarray(LOGITS)})
    np.testing.assert_allclose(ops.numpy(found), expected, rtol=1e-14)
    chosen = targets.choose(model, table, asked, LOGITS)
    np.testing.assert_allclose(ops.numpy(found), pick(LOGITS, chosen), rtol=1e-14)
    ones = [np.ones(5) if index is None else np.eye(5)[index] for index in chosen]
    np.testing.assert_array_equal(ops.numpy(gradients["logits"]), ones)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_another_class_that_is_no_number_does_not_count(model: Any, wrong: float) -> None:
    ops, logits = model.ops, LOGITS.copy()
    logits[:, 2] = wrong
    table = Table(Dense.of(model))
    found = targets.score(ops, table, ops.asarray(logits), ops.asarray(targets.marks(model, table, [1] * 3)))
    np.testing.assert_array_equal(ops.numpy(found), [2.0, -2.0, 1.0])
    found = targets.score(ops, table, ops.asarray(logits), ops.asarray(targets.marks(model, table, [2] * 3)))
    np.testing.assert_array_equal(ops.numpy(found), [wrong] * 3)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("target", "error"), [(5, UnknownNameError), ("fox", UnknownNameError), ([1, 2], SettingError)]
)
def test_what_there_is_not_is_refused(model: Any, target: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        vizkit.saliency(model, [vizkit.images.noise(size=TRAPS_SIZE)] * 3, target=target, fit="squash")


def test_an_index_in_any_whole_number(model: Any) -> None:
    """Also as frameworks' own argmax gives it: arrays and tensors without axes."""
    picture = vizkit.images.noise(size=TRAPS_SIZE)
    native = [pytest.importorskip("torch").tensor(2)] if model.backend == "torch" else []
    for one in (np.array(2), np.int8(2), [np.array(2)], np.array([2]), *native, (2,)):
        assert vizkit.saliency(model, picture, target=one, fit="squash").labels == ("cat",)
    assert vizkit.saliency(model, picture, target=np.array([1, 2]), fit="squash").labels == ("bee", "cat")
    for wrong in (1.0, np.float64(1), [1.0], [[0, 1]], np.array([[0, 1]]), {0: 1}, object(), b"cat"):
        with pytest.raises(SettingError, match="expected a class's index"):
            vizkit.saliency(model, picture, target=wrong, fit="squash")


@pytest.mark.quick
def test_some_of_several_results(model: Any) -> None:
    found = vizkit.saliency(model, vizkit.images.noise(size=TRAPS_SIZE), target=[0, 1, 2], fit="squash")
    for places in ([2, 0], np.array([2, -3])):
        assert found[places].labels == ("cat", "ant")
        np.testing.assert_array_equal(found[places].values, found.values[[2, 0]])
    for wrong in ("cat", 1.0, [True, False, True]):
        with pytest.raises(SettingError, match="expected a picture's place"):
            found[wrong]
    with pytest.raises(IndexError):
        found[3]
