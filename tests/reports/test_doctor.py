"""``vizkit doctor``: that it finds our own gradients right, and that a wrong one does not escape it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from rich.console import Console

import vizkit
from vizkit import backend as contract
from vizkit import cli
from vizkit.contract.probes import Case, Part, Probe, Way, cases, inputs
from vizkit.errors import SettingError, UnknownNameError
from vizkit.reports.doctor import Check, Diagnosis, Examination, reference, run
from vizkit.reports.doctor.examine import deviation, examinations, examine
from vizkit.reports.doctor.result import COARSE, OWN, RIGHT, WRONG, show

Spoil = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Patient:
    """A backend whose networks are the real ones, and whose answers ``spoil`` changes for one kind of layer. Its other
    way is ``way``, so that MXNet's garbage is not asked for within the tests' own process."""

    def __init__(self, name: str, kind: str = "", spoil: Spoil | None = None, way: Any = None) -> None:
        self.real, self.name, self.kind, self.spoil, self.way = contract.get(name), name, kind, spoil, way
        self.versions, self.threads = self.real.versions, self.real.threads

    def probe(self, case: Case, device: str, dtype: str) -> Probe:
        model = self.real.probe(case, device, dtype).model
        if self.spoil and case.parts[0].kind == self.kind:
            self._spoil(model.ops, self.spoil)
        return Probe(model, () if self.way is None else (Way("other", self.way(case), "do not"),))

    @staticmethod
    def _spoil(ops: Any, spoil: Spoil) -> None:
        true = ops.value_and_grad

        def wrong(fn: Any, leaves: Any) -> Any:
            scores, gradients, output = true(fn, leaves)
            y, g = spoil(ops.numpy(output), ops.numpy(gradients["x"]))
            return scores, {"x": ops.asarray(g)}, ops.asarray(y)

        ops.value_and_grad = wrong


def verdicts(found: Examination, way: str = OWN) -> dict[str, str]:
    return {check.layer: check.verdict for check in found.checks if check.way == way}


@pytest.mark.parametrize(("dtype", "forward", "gradient"), [("float64", 3e-15, 1e-8), ("float32", 1e-6, 1e-6)])
def test_our_own_way_is_right_for_every_layer(name: str, dtype: str, forward: float, gradient: float) -> None:
    """Measured over 12 seeds: float64 9e-16 and 2e-9 (the differences' own error), float32 3e-7 and 2e-7."""
    found = examine(Patient(name), "cpu", dtype, seed=1)  # type: ignore[arg-type]
    assert [check.layer for check in found.checks] == [case.name for case in cases(1)]
    assert max(check.forward for check in found.checks) < forward
    assert max(check.gradient for check in found.checks) < gradient
    assert found.right


def first_corner(y: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of each 2x2 window in its first corner, where zeros in memory send it."""
    wrong = np.zeros_like(g)
    wrong[..., : g.shape[2] // 2 * 2 : 2, : g.shape[3] // 2 * 2 : 2] = g.reshape(
        *g.shape[:2], g.shape[2] // 2, 2, g.shape[3] // 2, 2
    ).sum(axis=(3, 5))
    return y, wrong


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("max_pool", first_corner),
        ("relu", lambda y, g: (y, np.abs(g))),
        ("batch_norm", lambda y, g: (y, g * 1.05)),
        ("softmax", lambda y, g: (y, g * np.nan)),
        ("avg_pool", lambda y, g: (y, np.zeros_like(g))),
        ("dense", lambda y, g: (y + 0.1, g)),
        ("add", lambda y, g: (y, g[::-1])),
    ],
)
def test_a_wrong_answer_is_found_and_nothing_else_accused(kind: str, spoil: Spoil) -> None:
    """In one backend: who spoils the answers, and who judges them, know none."""
    first = {case.name: case.parts[-1 if case.name == "dense" else 0].kind for case in cases(0)}
    kind = "flatten" if kind == "dense" else kind
    found = examine(Patient(INSTALLED[-1], kind, spoil), "cpu")  # type: ignore[arg-type]
    wrong = {layer for layer, verdict in verdicts(found).items() if verdict == WRONG}
    expected = {layer for layer, own in first.items() if own == kind} | ({"dense"} if kind == "flatten" else set())
    if spoil is first_corner:
        wrong = {layer for layer in wrong if "2x2" in layer}
        expected = {"max-pool 2x2"}
    assert wrong == expected
    assert not found.right


def test_small_errors_are_coarse_and_do_not_alarm(name: str) -> None:
    """What a GPU does that multiplies with ten bits."""
    found = examine(Patient(name, "conv", lambda y, g: (y * (1 + 5e-4), g * (1 - 5e-4))), "cpu")  # type: ignore[arg-type]
    assert verdicts(found)["convolution 3x3"] == COARSE
    assert verdicts(found)["max-pool 2x2"] == RIGHT
    assert found.right


def test_an_earlier_right_answer_left_in_memory_does_not_deceive(name: str) -> None:
    """A way whose backward hands out the last true gradient that anybody computed."""
    backend = contract.get(name)
    left: dict[str, np.ndarray] = {}

    def remember(y: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        left["gradient"] = g
        return y, g

    def stale(case: Case) -> Any:
        return lambda x, cotangent: (reference.forward(case, x), left["gradient"])

    found = examine(Patient(backend.name, "max_pool", remember, stale), "cpu")  # type: ignore[arg-type]
    assert found.right
    pools = [layer for layer in verdicts(found) if layer.startswith("max-pool")]
    assert [verdicts(found, "other")[layer] for layer in pools] == [WRONG] * len(pools)


def test_what_throws_is_told_in_its_place(name: str) -> None:
    def broken(case: Case) -> Any:
        def throw(x: np.ndarray, cotangent: np.ndarray) -> Any:
            raise RuntimeError("no kernel image\nmore")

        return throw

    found = examine(Patient(name, way=broken), "cpu")  # type: ignore[arg-type]
    assert found.right
    assert {check.error for check in found.checks if check.way == "other"} == {"RuntimeError: no kernel image"}
    patient = Patient(name)
    patient.probe = broken(cases(0)[0])  # type: ignore[method-assign]
    assert not examine(patient, "cpu").right  # type: ignore[arg-type]


@pytest.mark.quick
def test_reference_by_hand() -> None:
    """Two layers whose results can be written down."""
    x = np.array([[[[1.0, 5.0, 2.0], [4.0, 3.0, 9.0], [7.0, 8.0, 6.0]]]])
    pool = Case("pool", (Part("max_pool", {"size": 2, "stride": 2, "padding": 0, "ceil": 1}),), (1, 3, 3))
    assert reference.forward(pool, x).tolist() == [[[[5, 9], [8, 6]]]]
    weight = np.array([[[[10.0, 20.0], [30.0, 40.0]]]])
    assert np.allclose(reference.gradient(pool, x, weight), [[[[0, 10, 0], [0, 0, 20], [0, 30, 40]]]], atol=1e-8)
    arrays = {"weight": np.array([[[[1.0, 0.0], [0.0, -1.0]]]]), "bias": np.array([0.5])}
    conv = Case("conv", (Part("conv", {"stride": 1, "padding": 0, "groups": 1}, arrays),), (1, 3, 3))
    assert reference.forward(conv, x).tolist() == [[[[-1.5, -3.5], [-3.5, -2.5]]]]


@pytest.mark.quick
def test_inputs_leave_nothing_undecided() -> None:
    for case in cases(0):
        x = inputs(case, np.random.default_rng(0)).reshape(2, -1)
        assert np.abs(x).min() > 1e-4
        assert np.diff(np.sort(x, axis=1), axis=1).min() > 1e-3
        assert np.array_equal(x, x.astype(np.float32))


@pytest.mark.quick
def test_deviation() -> None:
    truth = np.array([3.0, 4.0])
    assert deviation(np.array([3.0, 4.5]), truth) == pytest.approx(0.1)
    assert deviation(np.array([3.0, np.nan]), truth) == float("inf")
    assert deviation(np.array([[3.0, 4.0]]), truth) == float("inf")


@pytest.mark.skipif("gluon" not in INSTALLED, reason="the trap is MXNet's")
def test_the_obvious_ways_of_mxnet_are_warned_of() -> None:
    """Whole, in its own process: oneDNN's max-pools in predict mode, and batch norm by ``backward()`` there."""
    found = vizkit.doctor(backend="gluon", device="cpu")
    assert found.right
    (one,) = found.examinations
    first, second = one.ways()[1:]
    pools = {check.layer for check in one.checks if check.layer.startswith("max-pool")}
    network = {"a network of these"}
    assert {check.layer for check in one.of(first, WRONG)} == pools | network | {"batch norm, stored statistics"}
    assert {check.layer for check in one.of(second, WRONG)} == pools | network
    assert all(check.forward < 1e-6 for check in one.checks)
    assert one.checks[0].verdict == RIGHT
    text = str(found)
    assert "is WRONG here: max-pool 2x2" in text
    assert "whatever lay in memory" in text
    assert "vizkit's own gradients are right everywhere." in text
    again = json.loads(json.dumps(found.as_dict()))
    assert again["right"] is True
    assert len(again["examinations"][0]["checks"]) == 3 * len(cases(0))


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        (INSTALLED[0], "import os; os.abort()", "killed by SIGABRT"),
        *((name, "raise ImportError('libcudnn.so.8: cannot open')", "libcudnn.so.8") for name in INSTALLED),
    ],
)
def test_a_broken_framework_is_reported(
    name: str, code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    framework = contract.registered()[name].framework
    (tmp_path / f"{framework}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    found = vizkit.doctor(backend=name)
    assert not found.right
    assert says in str(found.examinations[0].error)
    assert "cannot be examined" in str(found)


@pytest.mark.quick
def test_a_process_that_ends_without_a_word_is_reported() -> None:
    assert run._reason(3, "") == "its process ended with code 3"


def finding(gradient: float) -> Diagnosis:
    checks = (Check("max-pool", OWN, "float32", 0.0, gradient), Check("max-pool", "hers", "float32", 0.0, 1.0))
    one = Examination("torch", "cpu", {"torch": "9"}, 2, checks, {"hers": "Take another way."})
    return Diagnosis((one,), {"gluon": "pip install it"}, "a processor", 2, {"vizkit": "0"}, "float32", 0)


@pytest.mark.parametrize(("gradient", "code"), [(1e-7, 0), (0.5, 1), (float("nan"), 1), (float("inf"), 1)])
def test_command(gradient: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys.modules["vizkit.doctor"], "doctor", lambda **_: finding(gradient))
    for options in ([], ["--json"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["doctor", *options])
        assert int(stopped.value.code or 0) == code
    out = capsys.readouterr().out
    table, data = out.split("{", 1)
    assert ("WRONG in vizkit's own way: max-pool" in table) == bool(code)
    assert "A: hers is WRONG here: max-pool." in table
    assert "Warning: Take another way." in table
    assert "gluon: not installed; pip install it" in table
    assert json.loads("{" + data)["right"] is not bool(code)


@pytest.mark.quick
def test_nothing_installed_is_not_well() -> None:
    nothing = replace(finding(0.0), examinations=())
    assert not nothing.right
    assert "No backend to examine is installed" in str(nothing)


def test_mistakes_are_told() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'torch'"):
        vizkit.doctor(backend="torhc")
    with pytest.raises(SettingError, match="float16"):
        vizkit.doctor(dtype="float16")
    with pytest.raises(SettingError, match="threads=0"):
        vizkit.doctor(threads=0)
    (one,) = examinations(INSTALLED[0], ["cuda:99"], "float32", 0, None)
    assert "cuda:99" in str(one.error)


@pytest.mark.quick
@pytest.mark.parametrize("width", [100, 60])
def test_a_narrow_terminal_gets_a_table_a_way_and_no_cell_is_cut(width: int) -> None:
    layers, ways = ("max-pool 3x3, stride 2, padded", "ReLU"), (OWN, "record(train_mode=False)", "the other one")
    checks = tuple(Check(layer, way, "float32", 1e-7, 2e-8) for layer in layers for way in ways)
    found = Examination("gluon", "cpu", {"mxnet": "1.9.1"}, 1, checks)
    stream = io.StringIO()
    show(Diagnosis((found,), {}, "a processor", 2, {}, "float32", 0), Console(file=stream, width=width))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.count("1e-07 ✓") for line in lines) == sum(line.count("2e-08 ✓") for line in lines) == 6
    assert sum(line.strip().startswith("layer") for line in lines) == (1 if width == 100 else 3)
    assert "…" not in stream.getvalue()
