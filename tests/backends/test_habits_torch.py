"""What a PyTorch network of one's own may do that published ones do not: layers by any name, state of its own, passes
that differ with the picture, operations that PyTorch hides. Its maps are right, or are refused."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit

if "torch" not in INSTALLED:
    pytest.skip("PyTorch's networks; PyTorch is not installed", allow_module_level=True)
import torch
from torch import nn

pytestmark = pytest.mark.cpu
SIDE = 8


class Named(nn.Module):
    """A stem, and a layer by any name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.name = name
        self.stem = nn.Conv2d(3, 3, 3, padding=1)
        self.add_module(name, nn.Conv2d(3, 3, 3, padding=1))
        self.head = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deep = getattr(self, self.name)(torch.relu(self.stem(x)))
        return self.head(torch.relu(deep).mean((2, 3)))


def wrapped(network: nn.Module, **options: Any) -> Any:
    return vizkit.wrap(network, input_size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, **options)


@pytest.fixture
def pictures(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(2, 3, SIDE, SIDE)).astype("float32")


@pytest.mark.parametrize("name", ["x", "marks", "beside", "values", "input"])
def test_a_layer_may_have_any_name(name: str, pictures: np.ndarray) -> None:
    model, other = wrapped(Named(name)), wrapped(Named("deep"))
    for method in (vizkit.gradcam, vizkit.ablationcam, vizkit.conductance):
        found, expected = (
            method(one, pictures, target=1, layer=layer).values for one, layer in ((model, name), (other, "deep"))
        )
        np.testing.assert_array_equal(found, expected)
        assert np.abs(expected).max() > 0
    graph, plain = model.graph(), other.graph()
    assert [one.kind for one in graph.nodes] == [one.kind for one in plain.nodes]
    assert len(graph.by_name) == len(graph.nodes)


class Ending(nn.Module):
    """A module by the name of the result, and what follows it."""

    def __init__(self, steps: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.output = nn.Conv2d(4, 4, 3, padding=1)
        self.steps = steps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.steps(self.output(torch.relu(self.stem(x))))
        return result


def test_a_module_by_the_name_of_the_result_is_a_layer_of_its_own(pictures: np.ndarray) -> None:
    network = Ending(lambda deep: deep.relu().mean((2, 3)))
    model = wrapped(network)
    with pytest.warns(vizkit.errors.MapWarning, match="has a module 'output'"):
        _ = model.layers
    assert list(model.layers) == ["stem", "output:module"]
    found = vizkit.gradcam(model, pictures, target=1, relu=False)
    deep = network.output(torch.relu(network.stem(torch.from_numpy(pictures))))
    expected = deep[:, 1] * (deep[:, 1] > 0).float().mean((1, 2), keepdim=True) / SIDE**2
    assert found.provenance["settings"]["layer"] == "output:module"
    np.testing.assert_allclose(found.values, expected.detach(), rtol=1e-5, atol=1e-7)
    shown = vizkit.feature_maps(model, pictures[:1], layer="output:module").values
    np.testing.assert_allclose(shown, deep[:1].detach(), rtol=1e-5, atol=1e-6)
    assert model.graph().layers["output:module"] != model.graph().layers["output"]


def test_a_module_that_gives_the_result_is_called_as_before() -> None:
    assert list(wrapped(Ending(lambda deep: deep)).layers) == ["stem", "output"]


class Again(Named):
    """A layer that runs once on a blank picture, and twice on any other; another that runs on others alone."""

    def __init__(self) -> None:
        super().__init__("deep")
        self.more = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deep = torch.relu(self.deep(self.stem(x)))
        if x.abs().max() > 0:
            return self.head(torch.relu(self.deep(deep)).mean((2, 3)))
        return self.head(self.more(deep).mean((2, 3)))


@pytest.mark.parametrize(("layer", "says"), [("deep", "more than once on this input"), ("more", "did not run 'more'")])
def test_layers_that_another_picture_reaches_otherwise(layer: str, says: str, pictures: np.ndarray) -> None:
    with pytest.raises(vizkit.errors.LayerError, match=says):
        vizkit.gradcam(wrapped(Again()), pictures, layer=layer)


class Stateful(Named):
    """Keeps something from pass to pass, and answers by it."""

    def __init__(self, where: str) -> None:
        super().__init__("deep")
        self.where = where
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.1))
        self.last: Any = torch.zeros(1, 3, 1, 1)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deep = self.stem(x)
        now = deep.detach().mean((0, 2, 3), keepdim=True)
        if self.where == "buffer":
            self.mean.mul_(0.9).add_(0.5 * now)
        elif self.where == "another buffer":
            self.mean = 0.9 * self.mean + 0.5 * now
        else:
            self.last = self.last + 0.5 * now
        self.calls += 1
        return self.head(torch.tanh(self.deep(deep - self.mean - self.last)).mean((2, 3)))


@pytest.mark.parametrize("where", ["buffer", "another buffer", "attribute"])
def test_every_pass_begins_with_the_state_that_was_left(where: str, pictures: np.ndarray) -> None:
    network, fresh = Stateful(where), Stateful(where)
    mean, last = network.mean, network.last
    model = wrapped(network)
    found = [vizkit.saliency(model, pictures[:1], target=1).values for _ in range(2)]
    x = torch.from_numpy(pictures[:1]).requires_grad_()
    fresh(x)[0, 1].backward()
    assert x.grad is not None
    for values in found:
        np.testing.assert_allclose(values, x.grad.abs().amax(1), rtol=1e-5, atol=1e-8)
    assert (network.mean is mean, network.last is last, network.calls) == (True, True, 0)
    np.testing.assert_array_equal(mean, np.full((1, 3, 1, 1), 0.1, "float32"))


def drawing(which: str) -> nn.Module:
    class Drawing(Named):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if which == "Python's":
                return super().forward(x * random.random())
            if which == "NumPy's":
                return super().forward(x * float(np.random.rand()))  # noqa: NPY002
            return super().forward(x * torch.rand((), generator=self.generator))

    network = Drawing("deep")
    network.generator = torch.Generator()
    return network


@pytest.mark.parametrize("which", ["Python's", "NumPy's", "its own"])
def test_random_numbers_of_any_generator_are_noticed(which: str) -> None:
    with pytest.warns(vizkit.errors.MapWarning, match="draws random numbers"):
        assert wrapped(drawing(which)).layers


def test_a_result_that_is_no_row_for_each_picture_is_refused(pictures: np.ndarray) -> None:
    network = Ending(lambda deep: deep.mean((0, 2, 3))[None])
    model = wrapped(network)
    with pytest.warns(vizkit.errors.MapWarning, match="has a module"):
        _ = model.layers
    assert vizkit.saliency(model, pictures, target=1, batch_size=1).values.max() > 0
    with pytest.raises(vizkit.errors.ShapeError, match=r"returns \(1, 4\) for 2 inputs"):
        vizkit.saliency(model, pictures, target=1)


class Rectified(nn.Module):
    """A ReLU, and another by any means."""

    def __init__(self, relu: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.head, self.relu = nn.Linear(6, 4), relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.second(self.relu(self.first(x)))).mean((2, 3)))


RELUS = {
    "clamp": lambda h: h.clamp(min=0),
    "clip, in place": lambda h: torch.clip(h, 0.0).clip_(0),
    "clamp_min": lambda h: torch.clamp_min(h, 0),
    "threshold": lambda h: torch.nn.functional.threshold(h, 0.0, 0.0),
    "Threshold, in place": nn.Threshold(0, 0, inplace=True),
    "an operator": torch.ops.aten.relu,
}


RELUS6 = {
    "relu6": torch.nn.functional.relu6,
    "ReLU6, in place": nn.ReLU6(inplace=True),
    "clip": lambda h: torch.clip(h, 0, 6.0),
    "an operator": lambda h: torch.ops.aten.hardtanh.default(h, 0.0, 6.0),
}


@pytest.mark.parametrize("kind", ["guided_backprop", "deconvnet", "lrp", "deeplift"])
@pytest.mark.parametrize("means", RELUS)
def test_a_relu_by_another_name_follows_the_rule(means: str, kind: str, pictures: np.ndarray) -> None:
    found, expected = (
        getattr(vizkit, kind)(wrapped(Rectified(relu)), pictures, target=1).values
        for relu in (RELUS[means], torch.relu)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["guided_backprop", "deconvnet", "lrp"])
@pytest.mark.parametrize("means", RELUS6)
def test_a_relu_with_a_bound_follows_the_rule(means: str, kind: str, pictures: np.ndarray) -> None:
    """Where the bound is out of reach it is a ReLU."""
    found, expected = (
        getattr(vizkit, kind)(wrapped(Rectified(relu)), pictures, target=1).values
        for relu in (RELUS6[means], torch.relu)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


class Bounded(nn.Module):
    def __init__(self, bounds: dict[str, float]) -> None:
        super().__init__()
        self.bounds = bounds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(**self.bounds)


@pytest.mark.parametrize("bounds", [{"min": 0, "max": -1}, {"min": -1}, {"max": 0}, {"min": -1, "max": 6}])
def test_other_bounds_are_no_relu(bounds: dict[str, float]) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), Bounded(bounds), nn.Flatten(), nn.Linear(4 * SIDE**2, 2))
    assert not wrapped(network).has_relu()


def scripted(h: torch.Tensor) -> torch.Tensor:
    return torch.relu(h)


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("kind", ["guided_backprop", "deconvnet", "lrp"])
@pytest.mark.parametrize("hides", ["TorchScript", "vmap"])
def test_a_relu_that_is_hidden_beside_one_that_is_shown(hides: str, kind: str, pictures: np.ndarray) -> None:
    relu: Any = torch.jit.script(scripted) if hides == "TorchScript" else torch.vmap(torch.relu)
    model = wrapped(Rectified(relu))
    assert vizkit.saliency(model, pictures, target=1).values.max() > 0
    with pytest.raises(vizkit.errors.SettingError, match="where no rule can see it"):
        getattr(vizkit, kind)(model, pictures, target=1)


def test_lazy_layers_are_refused_and_left_as_they_are() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(vizkit.errors.SettingError, match="Call it once"):
        wrapped(network)
    assert isinstance(network[2].weight, nn.parameter.UninitializedParameter)


class Casting(Named):
    """Turns what it reads into a type of its own, or asks for one within."""

    def __init__(self, kind: torch.dtype | None = None) -> None:
        super().__init__("deep")
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind is not None:
            return super().forward(x.to(self.kind))
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_network_that_casts_to_the_type_it_no_longer_has(kind: torch.dtype) -> None:
    with pytest.raises(vizkit.errors.SettingError, match=r"turns what it reads into another type.*conv\.weight\.dtype"):
        _ = wrapped(Casting(kind).to(kind)).layers


def test_a_network_of_parameters_that_do_not_fit() -> None:
    network = Named("deep")
    network.head.bfloat16()
    with pytest.raises(vizkit.errors.SettingError, match="bfloat16 and float32, which do not fit each other"):
        _ = wrapped(network).layers


@pytest.mark.parametrize("kind", ["lrp", "deeplift", "guided_backprop"])
def test_rules_where_a_network_asks_for_bfloat16_within(kind: str, pictures: np.ndarray) -> None:
    found, expected = (
        getattr(vizkit, kind)(wrapped(network), pictures, target=1).values for network in (Casting(), Named("deep"))
    )
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")
def test_a_network_with_weights_that_are_computed_is_copied(pictures: np.ndarray) -> None:
    """PyTorch's own copy refuses a weight that was computed in a pass with gradients."""
    network = Named("deep")
    nn.utils.weight_norm(network.stem)
    network(torch.from_numpy(pictures)).sum().backward()
    model = wrapped(network)
    changed = model.with_parameters({"head.bias": np.ones(4)})
    expected = model.logits(pictures) - network.head.bias.detach().numpy() + 1
    np.testing.assert_allclose(changed.logits(pictures), expected, rtol=1e-5)
    changed = model.with_parameters({"stem.weight_g": np.zeros((3, 1, 1, 1))})
    assert np.abs(changed.logits(pictures) - model.logits(pictures)).max() > 1e-3


def test_what_a_first_pass_sets_up_stays(pictures: np.ndarray) -> None:
    class Late(Named):
        ready, table, hooks = False, None, 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not self.ready:
                self.ready, self.table, self.hooks = True, torch.ones(3, 1, 1), self.hooks + 1
                self.register_buffer("scale", torch.full((3, 1, 1), 2.0))
            return super().forward(x * self.table * self.scale)

    network = Late("deep")
    found = vizkit.saliency(wrapped(network), pictures, target=1).values
    assert network.hooks == 1
    x = torch.from_numpy(pictures).requires_grad_()
    network(x)[:, 1].sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(found, x.grad.abs().amax(1), rtol=1e-5, atol=1e-7)


class Beside(Named):
    """Reads a picture in the light of others, or of itself alone."""

    def __init__(self, kind: str) -> None:
        super().__init__("deep")
        self.kind = kind
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "the largest of all":
            return super().forward(x / x.max())
        if self.kind == "the mean picture":
            return super().forward(x - x.mean(0, keepdim=True) / 2)
        if self.kind == "its own largest":
            return super().forward(x / x.amax((1, 2, 3), keepdim=True))
        self.seen.append(x.mean((0, 2, 3)).detach())
        used = torch.stack(self.seen).mean(0) if self.kind == "those before" else torch.zeros(3)
        return super().forward(x - used[:, None, None])


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("the largest of all", "beside another one"),
        ("the mean picture", "beside another"),
        ("those before", "it keeps"),
    ],
)
def test_answers_that_depend_on_other_pictures_are_noticed(kind: str, says: str) -> None:
    with pytest.warns(vizkit.errors.MapWarning, match=says):
        assert wrapped(Beside(kind)).layers


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["its own largest", "what is kept and not used"])
def test_answers_that_depend_on_the_picture_alone_are_not_warned_of(kind: str) -> None:
    assert wrapped(Beside(kind)).layers


def test_a_layer_of_complex_numbers_is_none(pictures: np.ndarray) -> None:
    class Spectrum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.rfft2(x)

    class Mixed(Named):
        def __init__(self) -> None:
            super().__init__("deep")
            self.spectrum = Spectrum()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(torch.fft.irfft2(self.spectrum(x)))

    model = wrapped(Mixed())
    assert list(model.layers) == ["stem", "deep", "head"]
    found = vizkit.saliency(model, pictures, target=1).values
    np.testing.assert_allclose(found, vizkit.saliency(wrapped(Named("deep")), pictures, target=1).values, rtol=1e-3)


@pytest.mark.parametrize("kind", ["lrp", "deeplift"])
def test_rules_in_an_exported_network(kind: str, pictures: np.ndarray) -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    many = {0: torch.export.Dim("batch")}
    network = torch.export.export(plain, (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes=({**many},)).module()
    found, expected = (getattr(vizkit, kind)(wrapped(one), pictures, target=1).values for one in (network, plain))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
