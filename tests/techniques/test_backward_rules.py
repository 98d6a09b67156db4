"""What rules are told of an operation: signs, sources, derivatives with other weights; in both frameworks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import kit as kit_of

import vizkit
from vizkit.contract.backend import Mode
from vizkit.rules import COMPOSITES, Composite, Evaluated
from vizkit.techniques.relevance.differences import RULES

CONVS = [
    *(("conv", 3, 6, 3, 1), ("norm", 6), ("relu",), ("pool",)),
    *(("conv", 6, 8, 3, 1), ("conv", 8, 8, 3, 1), ("sigmoid",)),
    *(("flatten",), ("dense", 8 * 16, 10), ("relu",), ("dense", 10, 4)),
]


def wrapped(native: Any, size: int = 8) -> Any:
    return vizkit.wrap(native, input_size=size, mean=(0.5,) * 3, std=(0.25,) * 3)


def noted(model: Any, x: np.ndarray, rules: Any, add: dict[str, Any] | None = None) -> list[Evaluated]:
    found: list[Evaluated] = []
    leaves = {name: model.ops.asarray(value) for name, value in (add or {}).items()}
    model.forward(model.ops.asarray(x), ("output",), leaves, Mode(rules=rules, noted=found))
    return found


def composite(model: Any) -> Composite:
    return COMPOSITES["epsilon_plus"](model)


@pytest.mark.quick
def test_signs_are_known_from_what_computed_values(name: str, rng: np.random.Generator) -> None:
    """Behind a ReLU, through a pool; behind a sigmoid, through a flattening; not once something was added."""
    if name not in ("torch", "gluon"):
        pytest.skip(f"{name} has no rules")
    model, x = wrapped(kit_of(name).sequential(CONVS, seed=2)), rng.normal(size=(2, 3, 8, 8))
    affine = {"conv", "linear"}
    told = [one for one in noted(model, x, composite(model)) if one.kind in affine]
    assert [one.nonnegative for one in told] == [False, True, False, True, True]
    for one in told:
        assert not one.nonnegative or model.ops.numpy(one.inputs[0]).min() >= 0
    pool = np.zeros((2, *model.layer("3").shape[1:]))
    told = [one for one in noted(model, x, composite(model), {"3": pool}) if one.kind in affine]
    assert [one.nonnegative for one in told] == [False, False, False, True, True]


@pytest.mark.quick
def test_sources_are_what_gave_the_input_as_it_is(name: str, rng: np.random.Generator) -> None:
    """Of a ReLU its convolution, of which the batch norm is part; none once something was added between them."""
    if name not in ("torch", "gluon"):
        pytest.skip(f"{name} has no rules")
    model, x = wrapped(kit_of(name).sequential(CONVS, seed=2)), rng.normal(size=(1, 3, 8, 8))
    rules = RULES["reveal_cancel"]
    by_kind = [(one.kind, one.source and one.source.kind) for one in noted(model, x, rules)]
    assert [pair for pair in by_kind if pair[0] == "relu"] == [("relu", "conv"), ("relu", "linear")]
    assert ("conv", "conv") in by_kind
    assert ("conv", "max_pool") in by_kind
    between = np.zeros((1, *model.layer("1").shape[1:]))
    relus = [one for one in noted(model, x, rules, {"1": between}) if one.kind == "relu"]
    assert [one.source and one.source.kind for one in relus] == [None, "linear"]


def test_what_is_written_loses_its_sign(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(16, 3)

        def forward(self, x: Any) -> Any:
            y = torch.relu(self.a(x))
            y -= 0.5
            z = self.b(y).relu_()
            return self.c(z.flatten(1))

    model = wrapped(Writes().double(), 2)
    told = noted(model, rng.normal(size=(1, 3, 2, 2)), composite(model))
    assert [one.nonnegative for one in told if one.kind in ("conv", "linear")] == [False, False, True]


WINDOWS: list[dict[str, Any]] = [
    {"kernel": (3, 3)},
    {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1)},
    {"kernel": (5, 3), "stride": (3, 2), "pad": (2, 0), "num_group": 2},
    {"kernel": (3, 2), "dilate": (2, 3), "pad": (1, 2)},
    {"kernel": (1, 1), "stride": (2, 2)},
]


@pytest.mark.parametrize("op", ["Convolution", "Deconvolution", "FullyConnected"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gluons_derivatives_as_operators(op: str, dtype: str, rng: np.random.Generator) -> None:
    """Against what MXNet differentiates, on weights that a pass has moved in memory."""
    if "gluon" not in INSTALLED:
        pytest.skip("gluon is not installed")
    from mxnet import autograd, nd

    import vizkit_gluon
    from vizkit_gluon.rules import adjoint
    from vizkit_gluon.trace import Node

    assert vizkit_gluon
    dense: list[dict[str, Any]] = [{"num_hidden": 5, "flatten": True}, {"num_hidden": 5, "flatten": False}]
    for window in dense if op == "FullyConnected" else WINDOWS:
        if op == "FullyConnected":
            source, shape = (2, 8, 10), (5, 80 if window["flatten"] else 10)
            settings = {"no_bias": True, **window}
        else:
            source, shape = (2, 16, 11, 10), (16, 16 // window.get("num_group", 1), *window["kernel"])
            settings = {"num_filter": 16, "no_bias": True, **window}
        x, weight = (nd.array(rng.normal(size=one), dtype=dtype) for one in (source, shape))
        run = getattr(nd, op)
        for _ in range(2):
            run(x, weight, **settings).wait_to_read()
        x.attach_grad()
        with autograd.record():
            y = run(x, weight, **settings)
        gradient = nd.array(rng.normal(size=y.shape), dtype=dtype)
        y.backward(gradient)
        back = adjoint(Node(op, "", {key: str(one) for key, one in settings.items()}, ()))
        assert back is not None
        found, wanted = back(gradient, weight, x).asnumpy(), x.grad.asnumpy()
        np.testing.assert_allclose(found, wanted, atol=(1e-5 if dtype == "float32" else 1e-13) * np.abs(wanted).max())
    assert adjoint(Node("Convolution", "", {"kernel": "(3,)"}, ())) is None
    assert adjoint(Node("Pooling", "", {"kernel": "(3, 3)"}, ())) is None


def test_pytorchs_derivatives_with_other_weights(rng: np.random.Generator) -> None:
    """However the operation is called; where nothing is saved by it, by computing it again."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    from vizkit_torch.rules import Call, TorchEvaluated

    def t(*shape: int) -> Any:
        return torch.from_numpy(rng.normal(size=shape))

    calls = [
        (F.conv2d, (t(2, 4, 9, 8), t(6, 2, 3, 3), t(6)), {"stride": 2, "padding": 1, "groups": 2}),
        (F.conv2d, (t(2, 4, 9, 8), t(6, 4, 2, 2)), {"padding": "same"}),
        (F.conv2d, (t(4, 9, 8), t(6, 4, 3, 3)), {"dilation": (2, 1)}),
        (F.conv1d, (t(2, 4, 9), t(6, 4, 3), t(6)), {}),
        (F.conv_transpose2d, (t(2, 4, 5, 5), t(4, 6, 3, 3), t(6), 2), {"output_padding": 1}),
        (F.linear, (t(2, 7, 4), t(5, 4), t(5)), {}),
        (torch.matmul, (t(2, 7, 4), t(4, 5)), {}),
    ]
    for func, args, kwargs in calls:
        kind = "linear" if func in (F.linear, torch.matmul) else "conv"
        call = Call(func, args, kwargs)
        data = {(0,): args[0]}
        own = {(i,): one for i, one in enumerate(args[1:3], 1) if isinstance(one, torch.Tensor)}
        done = TorchEvaluated(None, kind, call, data, own)  # type: ignore[arg-type]
        other = torch.randn_like(args[1])
        gradient = torch.randn_like(done.output)
        x = args[0].clone().requires_grad_()
        (wanted,) = torch.autograd.grad(func(x, other, *args[2:], **kwargs), x, gradient)
        done.pull(gradient)
        for _ in range(2):
            with torch.no_grad():  # as backward passes are
                np.testing.assert_allclose(done.pull(gradient, [other])[0], wanted, atol=1e-12)


@both()
@pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")
def test_float32_is_close_to_float64(rng: np.random.Generator) -> None:
    """Also where what lowers an output is what is left of it."""
    x = rng.normal(size=(2, 3, 8, 8))
    for backend in ("torch", "gluon"):
        kit = kit_of(backend)
        narrow, wide = (wrapped(kit.sequential(CONVS, seed=2, dtype=one)) for one in ("float32", "float64"))
        for rules in ("epsilon_alpha2_beta1", "gamma"):
            ours, exact = (vizkit.lrp(one, x, target=1, rules=rules).values for one in (narrow, wide))
            assert np.abs(ours - exact).max() < 1e-4 * np.abs(exact).max()
