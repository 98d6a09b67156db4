"""The GPU's benchmark, in small on a CPU: whoever has a GPU must find it working."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import INSTALLED

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
import torch
from typer import BadParameter

from benchmarks import gpu, gpu_cases
from benchmarks.readme_speed import gpu_table

pytestmark = pytest.mark.cpu


@pytest.fixture(autouse=True)
def _arithmetic() -> Iterator[None]:
    """A benchmark forbids TF32 for its whole process, which here is the suite's."""
    holders = torch.backends.cudnn, torch.backends.cuda.matmul
    found = [one.allow_tf32 for one in holders]
    yield
    for one, value in zip(holders, found, strict=True):
        one.allow_tf32 = value


def test_it_measures_judges_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gpu.json"
    options = {"networks": ["squeezenet1_1"], "rounds": 1, "device": "cpu", "quick": True}
    with pytest.raises(SystemExit) as ended:
        gpu.main(json_path=path, only=["saliency", "scorecam", "render"], **options)  # type: ignore[arg-type]
    assert ended.value.code == 0
    report = json.loads(path.read_text())
    assert [(row["case"], row["pictures"]) for row in report["rows"]] == [
        ("saliency", 1), ("saliency", 2), ("scorecam", 1), ("render", 1),
    ]  # fmt: skip
    who = report["rows"][1]["who"]
    assert {"vizkit, ready", "vizkit, arrays", "vizkit, files", "by hand", "by hand, files"} <= set(who)
    assert all(one["low"] <= one["ms"] <= one["high"] for one in who.values())
    assert report["failed"] == {}
    assert "saliency of 1 on squeezenet1_1" in capsys.readouterr().out


def test_every_target_has_a_case() -> None:
    for case, pictures in gpu.TARGETS:
        assert pictures in gpu_cases.CASES[case][1]


def test_targets_are_judged() -> None:
    who = {"vizkit, ready": {"ms": 10.0}, "captum": {"ms": 14.0}, "a steady step": {"ms": 3.0}}
    met = gpu.judged(who, "vizkit, ready", "captum", {"googlenet": 1.3}, "googlenet")
    missed = gpu.judged(who, "vizkit, ready", "captum", {"googlenet": 1.5}, "googlenet")
    limit = gpu.judged(who, "a steady step", "milliseconds", {"googlenet": 2.0}, "googlenet")
    assert met is not None
    assert missed is not None
    assert limit is not None
    assert (met["met"], missed["met"], limit["met"]) == (True, False, False)
    assert met["found"] == pytest.approx(1.4)
    assert gpu.judged(who, "vizkit, ready", "nobody", {"googlenet": 1.3}, "googlenet") is None


def test_the_table_says_what_was_missed_and_whose_bits_differ() -> None:
    row = {
        "case": "gradcam", "network": "googlenet", "pictures": 1, "peak_mib": 1, "absent": [],
        "who": {"vizkit, ready": {"ms": 4.0}, "captum": {"ms": 8.0}},
        "targets": [{"text": "aim", "wanted": 3.0, "found": 2.0, "met": False}],
    }  # fmt: skip
    digits = [
        {"method": "lime", "dtype": "float32", "apart": 1e-7, "same_bits": True},
        {"method": "rise", "dtype": "float32", "apart": 3e-7, "same_bits": False},
    ]
    report = {
        "device": "D",
        "versions": {"torch": "2"},
        "rounds": 3,
        "rows": [row],
        "digits": digits,
        "absent": ["x"],
        "skipped": ["dream"],
    }
    table = gpu_table(report)
    assert "| gradcam | googlenet | 1 | ready 4 | captum 8 | aim: 2.00, **missed** |" in table
    assert "at most 3e-07, `rise`" in table
    assert "Other bits: `rise` in float32." in table
    assert "Not installed there: x." in table
    assert "Not in this run: dream." in table


def test_unknown_cases_are_named() -> None:
    with pytest.raises(BadParameter, match="Did you mean saliency"):
        gpu.chosen(["salency"], gpu_cases.CASES, "case")
