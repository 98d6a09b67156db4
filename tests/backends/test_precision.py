"""PyTorch's arithmetic: always that of the model, whatever the process is set to, and bfloat16 where asked for."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.cli import main
from vizkit.errors import SettingError, SpeedWarning
from vizkit.model import Mode
from vizkit.results.files import read_provenance

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
import torch
from torch import nn

from vizkit_torch.precision import check_dtype, settled

pytestmark = pytest.mark.cpu

BACKENDS: Any = torch.backends
SIZE = 64
ROUNDING = 2.0**-8
"""Half the distance between neighbouring numbers in bfloat16, at 1."""


class Small(nn.Module):
    """A convolution with and one without batch norm, a sum, a pool, a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16)
        self.second, self.pool = nn.Conv2d(16, 16, 3, padding=1), nn.MaxPool2d(2)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(16, 10)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.norm(self.first(x)))
        x = self.pool(torch.relu(x + self.second(x)))
        return self.head(self.drop(x.mean((2, 3))))


@pytest.fixture
def network() -> Any:
    """Batch norm has statistics that are not those of a fresh network."""
    torch.manual_seed(5)
    made = Small().eval()
    made.norm.running_mean.normal_(std=0.1)
    made.norm.running_var.uniform_(0.5, 2)
    return made


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(2).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def wrap(native: Any, **options: Any) -> Any:
    return vizkit.wrap(native, input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3, **options)


def error(found: Any, wanted: Any) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@contextmanager
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def shortened(*settings: Any) -> Iterator[None]:
    """As on a machine that multiplies float32 in parts."""
    found = [one.fp32_precision for one in settings]
    for one in settings:
        one.fp32_precision = "bf16"
    try:
        yield
    finally:
        for one, value in zip(settings, found, strict=True):
            one.fp32_precision = value


newer = pytest.mark.skipif(not hasattr(BACKENDS.cudnn, "conv"), reason="this PyTorch has no setting by operation")
AROUND: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64 by default": default_dtype,
    "another device by default": lambda: torch.device("meta"),
    "shortened products": lambda: shortened(BACKENDS.mkldnn.conv, BACKENDS.mkldnn.matmul),
}
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "saliency": lambda model, image: vizkit.saliency(model, image).values,
    "gradcam": lambda model, image: vizkit.gradcam(model, image, layer="second").values,
    "smoothgrad": lambda model, image: vizkit.smoothgrad(model, image, samples=2).values,
    "scorecam": lambda model, image: vizkit.scorecam(model, image, layer="second").values,
    "rise": lambda model, image: vizkit.rise(model, image, samples=4).values,
    "invert": lambda model, image: vizkit.invert(model, image, "norm", steps=1).values,
    "dream": lambda model, image: vizkit.dream(model, "norm", 3, stages=1, steps=2, size=48).values,
    "deepdream": lambda model, image: vizkit.deepdream(model, image, "norm", octaves=1, steps=1, size=48).values,
    "feature_maps": lambda model, image: vizkit.feature_maps(model, image, "norm").values,
    "weights": lambda model, image: model.sha256(),
}


@pytest.mark.parametrize("around", [pytest.param(key, marks=newer if key[0] == "s" else ()) for key in AROUND])
@pytest.mark.parametrize("call", CALLS)
def test_the_process_around_changes_no_digit(network: Any, image: Any, around: str, call: str) -> None:
    """Nor what comes after it, nor when the model was first used there."""
    model, fresh, run = wrap(network), wrap(network), CALLS[call]
    before = run(model, image)
    with AROUND[around]():
        inside, first = run(model, image), run(fresh, image)
    for found in (inside, first, run(model, image), run(fresh, image)):
        np.testing.assert_array_equal(found, before)


@pytest.mark.quick
def test_without_onednn_for_a_while(network: Any, image: Any) -> None:
    model = wrap(network)
    before = vizkit.saliency(model, image).values
    with torch.backends.mkldnn.flags(enabled=False):
        assert error(vizkit.saliency(model, image).values, before) < 1e-5
    np.testing.assert_array_equal(vizkit.saliency(model, image).values, before)


@pytest.mark.quick
def test_a_network_made_in_inference_mode_is_refused() -> None:
    with torch.inference_mode():
        native = Small()
    with pytest.raises(SettingError, match="inference_mode"):
        wrap(native)


def flags() -> list[Any]:
    """Every setting that says how float32 is multiplied, and how cuDNN chooses its kernels."""
    holders = (BACKENDS.cudnn, BACKENDS.cudnn.conv, BACKENDS.cuda.matmul, BACKENDS.mkldnn.conv, BACKENDS.mkldnn.matmul)
    return [*(one.fp32_precision for one in holders), BACKENDS.cudnn.deterministic, BACKENDS.cudnn.benchmark]


@pytest.mark.quick
@newer
@pytest.mark.parametrize("inherited", [False, True])
@pytest.mark.parametrize("failing", [False, True])
def test_settings_are_full_within_and_as_before_afterwards(inherited: bool, failing: bool) -> None:
    """PyTorch multiplies a GPU's float32 convolutions in TF32 unless told otherwise."""
    everything, conv, benchmark = BACKENDS.fp32_precision, BACKENDS.cudnn.conv.fp32_precision, BACKENDS.cudnn.benchmark
    if inherited:
        BACKENDS.fp32_precision = "tf32"
    else:
        BACKENDS.cudnn.conv.fp32_precision = BACKENDS.cuda.matmul.fp32_precision = "tf32"
    BACKENDS.cudnn.benchmark = True
    try:
        before = flags()
        assert before[1:3] == ["tf32", "tf32"]
        with pytest.raises(ZeroDivisionError) if failing else settled("cpu"), settled("cuda:0"):
            assert [BACKENDS.cudnn.conv.fp32_precision, BACKENDS.cuda.matmul.fp32_precision] == ["ieee", "ieee"]
            assert BACKENDS.cudnn.deterministic
            assert not BACKENDS.cudnn.benchmark
            if failing:
                raise ZeroDivisionError
        assert flags() == before
        BACKENDS.fp32_precision = "none"  # and what inherited still does
        assert BACKENDS.cuda.matmul.fp32_precision == ("none" if inherited else "tf32")
    finally:
        BACKENDS.fp32_precision, BACKENDS.cudnn.benchmark = everything, benchmark
        BACKENDS.cudnn.conv.fp32_precision, BACKENDS.cuda.matmul.fp32_precision = conv, "none"


@pytest.mark.quick
def test_bfloat16_is_pytorchs_own(network: Any) -> None:
    """A network without batch norm: PyTorch's own conversion of it gives the same digits."""
    network.norm = nn.Identity()
    x = np.random.default_rng(3).normal(size=(2, 3, SIZE, SIZE)).astype(np.float32)
    theirs = copy.deepcopy(network).to(torch.bfloat16, memory_format=torch.channels_last)
    leaf = torch.from_numpy(x).requires_grad_(True)
    output = theirs(leaf.to(torch.bfloat16, memory_format=torch.channels_last)).float()
    (gradient,) = torch.autograd.grad(output[:, 4].sum(), leaf)
    model = wrap(network, dtype="bfloat16")

    def score(leaves: Any) -> Any:
        found = model.forward(leaves["x"])["output"]
        return found[:, 4], found

    _, found, values = model.ops.value_and_grad(score, {"x": model.ops.asarray(x)})
    torch.testing.assert_close(values, output.detach(), rtol=0, atol=0)
    torch.testing.assert_close(found["x"], gradient, rtol=0, atol=0)


@pytest.mark.quick
@pytest.mark.parametrize("optimise", [True, False])
def test_bfloat16_is_off_by_its_rounding_alone(network: Any, image: Any, optimise: bool) -> None:
    """Each of the few layers rounds once; the gradient at a layer does not pass through ReLUs that switched."""
    exact = wrap(copy.deepcopy(network).double())
    model = wrap(network, dtype="bfloat16", optimise=optimise)
    for layer in ("first", "norm", "second", "pool", "head"):
        found = vizkit.feature_maps(model, image, layer).values
        assert found.dtype == np.float32
        assert 0 < error(found, vizkit.feature_maps(exact, image, layer).values) < 2 * ROUNDING
    found, wanted = (vizkit.gradcam(one, image, target=4, layer="second", relu=False) for one in (model, exact))
    assert found.values.dtype == np.float32
    assert 0 < error(found.values, wanted.values) < 6 * ROUNDING
    assert found.provenance["dtype"] == "bfloat16"
    assert model.dtype == "bfloat16"
    assert model.ops.dtype == "float32"


def test_bfloat16_leaves_the_network_alone_and_follows_it(network: Any, image: Any) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    held = dict(network.named_parameters())
    model = wrap(network, dtype="bfloat16")
    first = vizkit.saliency(model, image, target=1).values
    assert all(value is held[name] and value.requires_grad for name, value in network.named_parameters())
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert model.sha256() == wrap(network).sha256()
    for writing in (network.head.weight.data, network.first.weight.data, network.norm.running_var):
        writing.mul_(2.0)  # through .data PyTorch counts no version
        now = vizkit.saliency(model, image, target=1).values
        assert error(now, first) > 0.1
        np.testing.assert_array_equal(now, vizkit.saliency(wrap(network, dtype="bfloat16"), image, target=1).values)
        first = now
    network.head = nn.Linear(16, 10)  # another module in its place, written after a pass has seen it
    vizkit.saliency(model, image, target=1)
    network.head.weight.data.mul_(-5.0)
    now = vizkit.saliency(model, image, target=1).values
    fresh = wrap(network, dtype="bfloat16", optimise=False)  # a network that was taken apart is not folded any more
    np.testing.assert_array_equal(now, vizkit.saliency(fresh, image, target=1).values)
    changed = model.with_parameters({"head.weight": 3 * model.parameter("head.weight")})
    assert error(vizkit.saliency(changed, image, target=1).values, 3 * now) < 2 * ROUNDING
    np.testing.assert_array_equal(vizkit.saliency(model, image, target=1).values, now)


@pytest.mark.quick
def test_bfloat16_takes_ops_that_need_float32(image: Any) -> None:
    """A constant of the network's own is float32, and so is what comes of it; the next layer takes that, too."""

    class Scaling(Small):
        def forward(self, x: Any) -> Any:
            return super().forward(x * torch.full((1, 3, 1, 1), 0.5))

    torch.manual_seed(0)
    native = Scaling().eval()
    found, wanted = (vizkit.feature_maps(wrap(native, dtype=dtype), image, "first") for dtype in ("bfloat16", None))
    assert error(found.values, wanted.values) < 2 * ROUNDING


@pytest.mark.quick
def test_training_mode_stays_float32(network: Any) -> None:
    x = np.random.default_rng(3).normal(size=(4, 3, SIZE, SIZE)).astype(np.float32)
    found = []
    for model in (wrap(network, dtype="bfloat16"), wrap(network)):
        mode = Mode(training=np.random.default_rng(1))
        found.append(model.ops.numpy(model.forward(model.ops.asarray(x), mode=mode)["output"]))
    np.testing.assert_array_equal(*found)


@pytest.mark.quick
def test_other_dtypes_are_refused(network: Any) -> None:
    with pytest.raises(SettingError, match=r"float16.*'bfloat16'"):
        vizkit.load("shapes", backend="torch", dtype="float16")
    with pytest.raises(SettingError, match="needs float32 parameters; those of Small are float64"):
        wrap(network.double(), dtype="bfloat16")
    with pytest.raises(SettingError, match="needs float64 parameters"):
        wrap(network.float(), dtype="float64")
    if "gluon" in INSTALLED:
        with pytest.raises(SettingError, match=r"'gluon' computes in float32 or float64.*backend='torch'"):
            vizkit.load("shapes", backend="gluon", dtype="bfloat16")


@pytest.mark.quick
@pytest.mark.parametrize(
    ("able", "device", "dtype"),
    [(False, "cpu", "bfloat16"), (True, "cpu", "bfloat16"), (False, "cuda:0", "bfloat16"), (False, "cpu", "float32")],
)
def test_a_processor_without_bfloat16_is_told(
    monkeypatch: pytest.MonkeyPatch, able: bool, device: str, dtype: str
) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: able)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_dtype(device, dtype)
    told = [str(one.message) for one in caught if one.category is SpeedWarning]
    assert len(told) == (not able and (device, dtype) == ("cpu", "bfloat16"))


def test_the_command_line_takes_bfloat16(tmp_path: Any) -> None:
    out = tmp_path / "map.png"
    with contextlib.suppress(SystemExit):
        main(["saliency", "--model", "shapes", "--backend", "torch", "--dtype", "bfloat16", "--out", str(out)])
    assert read_provenance(out)["dtype"] == "bfloat16"
