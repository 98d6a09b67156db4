"""Class-activation maps where channels come last, and of tokens: as by hand, and as pytorch-grad-cam's reshapes make
them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
import torch
import torchvision
from torch import nn

SIDE = 64
METHODS = (
    "gradcam", "gradcam_plus_plus", "xgradcam", "hirescam", "layercam", "eigencam", "scorecam", "ablationcam",
    "smooth_gradcam_plus_plus",
)  # fmt: skip


class Last(nn.Module):
    """The same layer twice: with channels last, and first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.first = nn.Conv2d(3, 6, 8, 8), nn.LayerNorm(6), nn.Identity()
        self.act, self.head = nn.ReLU(), nn.Linear(6, 4)

    def forward(self, x: Any) -> Any:
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        return self.head(self.act(self.first(y.permute(0, 3, 1, 2))).mean((2, 3)))


def wrapped(native: nn.Module) -> Any:
    return vizkit.wrap(native.double(), input_size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3)


def picture() -> Any:
    return np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("method", METHODS)
def test_channels_last_give_the_map_of_channels_first(method: str) -> None:
    torch.manual_seed(0)
    model = wrapped(Last())
    options: dict[str, Any] = {"target": 2, "fit": "squash"} | ({"samples": 3} if method.startswith("smooth") else {})
    last, first = (getattr(vizkit, method)(model, picture(), layer=name, **options) for name in ("norm", "first"))
    assert last.extra["cam"].shape == (1, 8, 8)
    assert np.ptp(last.values) > 0
    np.testing.assert_allclose(last.values, first.values, rtol=1e-10, atol=1e-12 * np.abs(first.values).max())


def vit() -> nn.Module:
    """A small one; torchvision starts the last layer at zero, which no gradient passes."""
    torch.manual_seed(0)
    made = torchvision.models.VisionTransformer(
        image_size=SIDE, patch_size=16, num_layers=3, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=5
    )
    nn.init.normal_(made.heads.head.weight)
    return made.eval()


@pytest.mark.quick
def test_a_class_token_is_explained_where_it_still_looks_at_the_picture() -> None:
    model = wrapped(vit())
    found = vizkit.gradcam(model, picture(), target=1, fit="squash")
    assert found.layer == "encoder.layers.encoder_layer_2.ln_1"
    assert found.extra["cam"].shape == (1, 4, 4)
    with pytest.warns(vizkit.errors.MapWarning, match="zero everywhere"):
        vizkit.gradcam(model, picture(), target=1, fit="squash", layer="encoder.ln")  # which is too late


@pytest.mark.quick
@pytest.mark.parametrize(
    ("method", "peer"), [("gradcam", "GradCAM"), ("hirescam", "HiResCAM"), ("layercam", "LayerCAM")]
)
def test_tokens_are_pytorch_grad_cams(method: str, peer: str) -> None:
    cams = pytest.importorskip("pytorch_grad_cam", exc_type=ImportError, reason="pytorch-grad-cam is not installed")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, layer = wrapped(vit()), "encoder.layers.encoder_layer_2.ln_1"
    native = copy.deepcopy(model.native).cpu()
    batch = vizkit.images.prepare(picture(), model.spec, fit="squash")
    x = torch.from_numpy(batch.tensor).double().requires_grad_()

    def reshape(tokens: Any) -> Any:
        return tokens[:, 1:].reshape(-1, 4, 4, tokens.shape[2]).permute(0, 3, 1, 2)

    theirs = getattr(cams, peer)(native, [native.get_submodule(layer)], reshape_transform=reshape)
    wanted = [ClassifierOutputTarget(1)]
    theirs(x, wanted)
    activations, gradients = (
        getattr(theirs.activations_and_grads, name)[0].numpy() for name in ("activations", "gradients")
    )
    raw = theirs.get_cam_image(x, native.get_submodule(layer), wanted, activations, gradients, False)
    ours = getattr(vizkit, method)(model, picture(), target=1, fit="squash", layer=layer, relu=True).extra["cam"]
    np.testing.assert_allclose(ours, np.maximum(raw, 0), rtol=1e-8, atol=1e-10 * np.abs(raw).max())


@pytest.mark.parametrize("name", ["swin_v2_t", "maxvit_t", "mnasnet0_5"])
def test_networks_with_whole_numbers_and_versions_load(name: str) -> None:
    model = vizkit.load(name, backend="torch", weights="random:1")
    assert vizkit.gradcam(model, vizkit.images.sample(), target=1).extra["cam"].shape[1:] == (7, 7)


def test_torchvisions_own_file_of_a_swin(tmp_path: Any) -> None:
    """With the places of a window's pixels to each other in it, which are whole numbers."""
    torch.manual_seed(2)
    native = torchvision.models.swin_t(weights=None).eval()
    torch.save(native.state_dict(), tmp_path / "swin.pth")
    model = vizkit.load("swin_t", backend="torch", weights=str(tmp_path / "swin.pth"))
    batch = vizkit.images.prepare(vizkit.images.sample(), model.spec)
    with torch.no_grad():
        expected = native(torch.from_numpy(batch.tensor)).numpy()
    np.testing.assert_allclose(model.logits(batch), expected, rtol=1e-4, atol=1e-5)
    assert vizkit.gradcam(model, vizkit.images.sample(), target=1).extra["cam"].shape[1:] == (7, 7)
