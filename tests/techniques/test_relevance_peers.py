"""Relevance beside its peers, in float64, to 1e-10 of the largest value: zennit's composites, captum's DeepLIFT.

Known of the peers: zennit merges a batch norm and leaves its epsilon in it, 1 / sqrt(1 + eps) at each; here the
oracle's epsilon is moved to the variance first. Captum's max-pool rule does not add up to the difference of scores
(with one pool off by 127 % and more here), so networks with pools are held to completeness; its ReLUs must be modules,
each used once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vizkit
from vizkit.errors import MapWarning

torch = pytest.importorskip("torch")
composites = pytest.importorskip("zennit.composites")
attribution = pytest.importorskip("zennit.attribution")
captum = pytest.importorskip("captum.attr")
nn = torch.nn
SIZE, MEAN, STD = 16, (0.5, 0.4, 0.6), (0.25, 0.2, 0.3)
TARGETS = [1, 3]
pytestmark = pytest.mark.filterwarnings("ignore:Setting forward, backward hooks", "ignore::UserWarning:captum")


class Block(nn.Module):
    """A residual block as torchvision has them, with the sum in place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None

    def forward(self, x: Any) -> Any:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        return self.relu(out)


def vgg_like() -> Any:
    body = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(108, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 5)]
    return nn.Sequential(*body, *head)


def resnet_like() -> Any:
    stem = [nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2, 1)]
    return nn.Sequential(*stem, Block(8), Block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def seeded(make: Any) -> Any:
    torch.manual_seed(0)
    native = make().double().eval()
    for norm in (one for one in native.modules() if isinstance(one, nn.BatchNorm2d)):
        width = norm.num_features
        norm.weight.data = torch.rand(width, dtype=torch.float64) + 0.5
        norm.bias.data, norm.running_mean = (0.2 * torch.randn(width, dtype=torch.float64) for _ in range(2))
        norm.running_var = torch.rand(width, dtype=torch.float64) + 0.5
    return native


def wrapped(native: Any) -> Any:
    return vizkit.wrap(native, input_size=SIZE, mean=MEAN, std=STD)


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    """Two pictures, normalised."""
    pixels = rng.uniform(size=(2, 3, SIZE, SIZE))
    return np.asarray((pixels - np.reshape(MEAN, (1, 3, 1, 1))) / np.reshape(STD, (1, 3, 1, 1)))


class Canonizer:
    """What zennit has for torchvision's ResNet, for this file's blocks."""

    @staticmethod
    def of(native: Any) -> list[Any]:
        from zennit.canonizers import AttributeCanonizer, CompositeCanonizer, SequentialMergeBatchNorm
        from zennit.layer import Sum

        def forward(self: Any, x: Any) -> Any:
            out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(self.canonizer_sum(torch.stack([x, out], dim=-1)))

        def attributes(_name: str, module: Any) -> Any:
            if isinstance(module, Block):
                return {"forward": forward.__get__(module), "canonizer_sum": Sum()}
            return None

        return [CompositeCanonizer((SequentialMergeBatchNorm(), AttributeCanonizer(attributes)))]


PEERS = {
    "epsilon_plus": "EpsilonPlus",
    "epsilon_plus_flat": "EpsilonPlusFlat",
    "epsilon_alpha2_beta1": "EpsilonAlpha2Beta1",
    "epsilon_alpha2_beta1_flat": "EpsilonAlpha2Beta1Flat",
    "epsilon_gamma_box": "EpsilonGammaBox",
}


@pytest.mark.parametrize("make", [vgg_like, resnet_like])
@pytest.mark.parametrize("rules", PEERS)
def test_composites_are_zennits(x: np.ndarray, make: Any, rules: str, record_property: Any) -> None:
    native = seeded(make)
    ours = vizkit.lrp(wrapped(native), x, target=TARGETS, rules=rules).extra["attribution"]
    for norm in (one for one in native.modules() if isinstance(one, nn.BatchNorm2d)):
        norm.running_var += norm.eps
        norm.eps = 0.0
    mean, std = (torch.tensor(one, dtype=torch.float64).reshape(1, 3, 1, 1) for one in (MEAN, STD))
    box = {"low": -mean / std, "high": (1 - mean) / std} if rules == "epsilon_gamma_box" else {}
    composite = getattr(composites, PEERS[rules])(canonizers=Canonizer.of(native), **box)
    with attribution.Gradient(native, composite) as peer:
        _, theirs = peer(torch.from_numpy(x), lambda out: torch.eye(5, dtype=torch.float64)[TARGETS] * out)
    off = float(np.abs(ours - theirs.numpy()).max() / np.abs(ours).max())
    record_property(
        "attribution", {"method": "lrp", "backend": "torch", "oracle": f"zennit {PEERS[rules]}", "max": off}
    )
    assert np.abs(ours).max() > 1e-5
    assert off <= 1e-10


def no_pools() -> Any:
    body = [nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 12, 3, stride=2), nn.Tanh()]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(108, 10), nn.ELU(), nn.Linear(10, 5))


def test_deeplift_is_captums(x: np.ndarray, rng: np.random.Generator, agree: Any) -> None:
    native, other = seeded(no_pools), rng.normal(size=(2, 3, SIZE, SIZE))
    theirs = captum.DeepLift(native).attribute(torch.from_numpy(x), torch.from_numpy(other), target=TARGETS)
    ours = vizkit.deeplift(wrapped(native), x, target=TARGETS, baseline=other).extra["attribution"]
    agree("deeplift", "captum DeepLift", ours, theirs.detach(), tolerance=1e-10)


def test_deeplift_shap_is_captums(x: np.ndarray, rng: np.random.Generator, agree: Any) -> None:
    native, others = seeded(no_pools), rng.normal(size=(3, 3, SIZE, SIZE))
    theirs = captum.DeepLiftShap(native).attribute(torch.from_numpy(x), torch.from_numpy(others), target=TARGETS)
    baselines = [one[None] for one in others]
    ours = vizkit.deeplift_shap(wrapped(native), x, target=TARGETS, baselines=baselines).extra["attribution"]
    agree("deeplift_shap", "captum DeepLiftShap", ours, theirs.detach(), tolerance=1e-10)


class Functions(nn.Module):
    """What captum cannot: functions, one ReLU twice, in place, a product of two things, pools that overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.last = nn.ReLU(inplace=True), nn.Linear(8 * 49, 5)

    def forward(self, x: Any) -> Any:
        x = self.relu(self.a(x))
        y = self.relu(self.b(x))
        y = y * torch.sigmoid(y.mean((2, 3), keepdim=True)) + nn.functional.silu(x)
        nn.functional.relu_(y)
        return self.last(nn.functional.max_pool2d(y, 3, 2).flatten(1))


@pytest.mark.parametrize("make", [vgg_like, resnet_like, Functions])
def test_deeplift_adds_up(x: np.ndarray, rng: np.random.Generator, make: Any) -> None:
    """Whatever the operations: attributions are the difference of the scores, to rounding."""
    model = wrapped(seeded(make))
    other = rng.normal(size=(2, 3, SIZE, SIZE))
    found = vizkit.deeplift(model, x, target=TARGETS, baseline=other)
    wanted = (model.logits(x) - model.logits(other))[[0, 1], TARGETS]
    np.testing.assert_allclose(found.values.sum(axis=(1, 2)), wanted, rtol=1e-9)
    assert found.extra["completeness_error"].max() < 1e-9


def test_captums_pools_do_not_add_up(x: np.ndarray, rng: np.random.Generator) -> None:
    """Once this fails, the tests with pools can compare with captum."""
    native, other = seeded(vgg_like), rng.normal(size=(2, 3, SIZE, SIZE))
    for one in native.modules():
        if isinstance(one, nn.ReLU):
            one.inplace = False
    given = torch.from_numpy(x), torch.from_numpy(other)
    theirs = captum.DeepLift(native).attribute(*given, target=TARGETS).detach().numpy()
    wanted = (native(given[0]) - native(given[1])).detach().numpy()[[0, 1], TARGETS]
    assert (np.abs(theirs.sum(axis=(1, 2, 3)) - wanted) > 0.01 * np.abs(wanted)).all()


@pytest.mark.parametrize("method", ["lrp", "deeplift"])
def test_what_is_written_in_place_and_then_read(method: str, x: np.ndarray) -> None:
    """The result of ``relu_`` is thrown away, and the tensor that it wrote is read."""
    writing = seeded(Functions)
    plain = seeded(Functions)

    def forward(x: Any) -> Any:
        x = torch.relu(plain.a(x))
        y = torch.relu(plain.b(x))
        y = torch.relu(y * torch.sigmoid(y.mean((2, 3), keepdim=True)) + nn.functional.silu(x))
        return plain.last(nn.functional.max_pool2d(y, 3, 2).flatten(1))

    plain.forward = forward
    ours, theirs = (getattr(vizkit, method)(wrapped(one), x, target=TARGETS).values for one in (writing, plain))
    np.testing.assert_allclose(ours, theirs, atol=1e-12 * np.abs(theirs).max())


def test_a_picture_that_is_its_baseline_is_warned_of(x: np.ndarray) -> None:
    with pytest.warns(MapWarning, match="image and baseline are the same"):
        vizkit.deeplift(wrapped(seeded(vgg_like)), x, target=TARGETS, baseline=x)
