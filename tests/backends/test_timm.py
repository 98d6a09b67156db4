"""Networks of timm, by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.errors import BackendMissingError, UnknownNameError, WeightsError

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
import torch


@pytest.mark.quick
def test_without_timm_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BackendMissingError, match=r"pip install 'vizkit\[timm\]'"):
        vizkit.load("timm/resnet10t", backend="torch", weights="random:1")


@pytest.fixture
def timm() -> Any:
    return pytest.importorskip("timm", reason="needs timm, which is not installed here")


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "convnext_atto"])
def test_a_network_is_timms_own(timm: Any, name: str) -> None:
    """Outputs, size, normalisation and crop are as timm has them; what looks at it, works."""
    model = vizkit.load(f"timm/{name}", backend="torch", weights="random:1")
    own = timm.create_model(name)
    own.load_state_dict({key: torch.from_numpy(model.parameter(key)) for key in model.parameter_shapes()}, strict=False)
    told = timm.data.resolve_model_data_config(own)
    assert model.spec.size == told["input_size"][1:]
    assert (model.spec.mean, model.spec.std) == (told["mean"], told["std"])
    assert model.spec.resize == int(model.spec.size[0] / told["crop_pct"])
    batch = vizkit.images.prepare(vizkit.images.sample(), model.spec)
    with torch.no_grad():
        expected = own.eval()(torch.from_numpy(batch.tensor))
    np.testing.assert_allclose(model.logits(batch), expected, rtol=1e-3, atol=1e-4)
    assert len(model.spec.labels) == 1000
    assert np.ptp(vizkit.saliency(model, batch).values) > 0
    assert np.ptp(vizkit.gradcam(model, batch, relu=False).values) > 0


def test_a_fine_tuned_file(timm: Any, tmp_path: Path) -> None:
    tuned = timm.create_model("resnet10t", num_classes=4).eval()
    torch.save({"model": {"module." + key: value for key, value in tuned.state_dict().items()}}, tmp_path / "ck.pth")
    names = ["a", "b", "c", "d"]
    model = vizkit.load("timm/resnet10t", backend="torch", weights=str(tmp_path / "ck.pth"), labels=names)
    batch = vizkit.images.prepare(vizkit.images.sample(), model.spec)
    with torch.no_grad():
        expected = tuned(torch.from_numpy(batch.tensor))
    np.testing.assert_allclose(model.logits(batch), expected, rtol=1e-3, atol=1e-5)
    assert {one.label for one in model.predict(batch)} == set(names)


@pytest.mark.quick
def test_errors(timm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="resnet10t"):
        vizkit.load("timm/resnet10tt", backend="torch", weights="random:1")

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("no route to the hub\nand much more")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(WeightsError, match=r"could not fetch the weights of 'resnet10t' .*no route to the hub"):
        vizkit.load("timm/resnet10t", backend="torch", weights="imagenet")
