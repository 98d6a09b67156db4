"""Attribution methods worked out by hand on networks small enough for it, on every backend; what goes wrong, and how it
is said."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from kits import TRAPS, TRAPS_SIZE, parameters, perturb
from kits import kit as kit_of

import vizkit
from vizkit.contract import draws
from vizkit.errors import LayerError, MapWarning, SettingError, UnknownNameError
from vizkit.ops import bilinear_matrix
from vizkit.techniques.attribution.quadrature import RULES, quadrature
from vizkit.techniques.common.job import Job
from vizkit.techniques.common.noise import Noise, generator

SIZE = 4
# Convolution 1x1, ReLU, dense: every gradient can be written down.
LAYERS = [("conv", 3, 2, 1, 0), ("relu",), ("flatten",), ("dense", 2 * SIZE * SIZE, 3)]


def drawn(seed: int, sample: int, shape: tuple[int, ...]) -> np.ndarray:
    """The noise of one sample, by itself."""
    return draws.normal(draws.keys(seed, [sample]), int(np.prod(shape))).reshape(shape)


class Small:
    """The network in a backend, and its arithmetic in NumPy."""

    def __init__(self, backend: str) -> None:
        native = kit_of(backend).sequential(LAYERS)
        self.model = vizkit.wrap(native, input_size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3)
        conv, _, _, dense = parameters(LAYERS, 0)
        self.w, self.b = conv["weight"][:, :, 0, 0], conv["bias"]
        self.v, self.c = dense["weight"].reshape(3, 2, SIZE, SIZE), dense["bias"]
        rng = np.random.default_rng(3)
        self.picture = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        batch = vizkit.images.prepare(self.picture, self.model.spec, fit="squash")
        self.x = batch.tensor[0].astype(np.float64)

    def z(self, x: np.ndarray) -> np.ndarray:
        return np.einsum("kc,chw->khw", self.w, x) + self.b[:, None, None]

    def a(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(self.z(x), 0)

    def score(self, x: np.ndarray, t: int) -> float:
        return float((self.v[t] * self.a(x)).sum() + self.c[t])

    def gradient(self, x: np.ndarray, t: int) -> np.ndarray:
        return np.einsum("kc,khw->chw", self.w, self.v[t] * (self.z(x) > 0))

    def run(self, method: str, **settings: Any) -> Any:
        return getattr(vizkit, method)(self.model, self.picture, fit="squash", **{"target": 1, **settings})


@pytest.fixture
def small(name: str) -> Small:
    return Small(name)


@pytest.mark.quick
def test_the_arithmetic_is_the_networks(small: Small) -> None:
    expected = [small.score(small.x, t) for t in range(3)]
    np.testing.assert_allclose(small.model.logits(small.picture, fit="squash")[0], expected, rtol=1e-12)


@pytest.mark.quick
def test_gradient_x_input(small: Small) -> None:
    expected = (small.x * small.gradient(small.x, 1)).sum(0)
    np.testing.assert_allclose(small.run("gradient_x_input").values[0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.quick
def test_noise(small: Small) -> None:
    """The mean, variance and mean square of gradients at the documented points."""
    deviation = 0.4 * np.ptp(small.x)
    points = [small.x + deviation * drawn(9, s, small.x.shape) for s in range(6)]
    gradients = np.stack([small.gradient(point, 1) for point in points])
    settings = {"samples": 6, "noise": 0.4, "seed": 9}
    for method, expected in (
        ("smoothgrad", np.abs(gradients.mean(0)).max(0)),
        ("vargrad", gradients.var(0).sum(0)),
        ("squaregrad", (gradients**2).mean(0).sum(0)),
    ):
        np.testing.assert_allclose(small.run(method, **settings).values[0], expected, rtol=1e-9, atol=1e-12)


def test_integrated_gradients(small: Small) -> None:
    """Against the exact integral: along the way each unit opens or closes once, at a known point."""
    start = np.full_like(small.x, -1.0)
    way = small.x - start
    z0, z1 = small.z(start), small.z(small.x)
    crossing = np.clip(np.divide(-z0, z1 - z0, out=np.zeros_like(z0), where=z1 != z0), 0, 1)
    share = np.where(z0 > 0, np.where(z1 > 0, 1, crossing), np.where(z1 > 0, 1 - crossing, 0))
    expected = (way * np.einsum("kc,khw->chw", small.w, small.v[1] * share)).sum(0)
    found = small.run("integrated_gradients", steps=2000, rule="riemann_middle", baseline="black")
    np.testing.assert_allclose(found.values[0], expected, atol=2e-3 * np.abs(expected).max())
    assert found.values[0].sum() == pytest.approx(small.score(small.x, 1) - small.score(start, 1), rel=1e-3)
    assert found.extra["completeness_error"][0] < 1e-3
    assert found.provenance["settings"]["completeness_error"] == pytest.approx(
        found.extra["completeness_error"].tolist()
    )


@pytest.mark.quick
@pytest.mark.parametrize("rule", RULES)
def test_quadrature_is_exact_where_it_must_be(rule: str) -> None:
    nodes, weights = quadrature(rule, 5)
    assert weights.sum() == pytest.approx(1, abs=1e-14)
    degree = {"gausslegendre": 9, "riemann_middle": 1, "riemann_trapezoid": 1}.get(rule, 0)
    assert weights @ nodes**degree == pytest.approx(1 / (degree + 1), abs=1e-14)
    assert abs(weights @ nodes ** (degree + 1) - 1 / (degree + 2)) > 1e-7


@pytest.mark.parametrize("baseline", ["black", "mean", "blurred", "noise", "image"])
def test_baselines(small: Small, baseline: str) -> None:
    given: Any = 255 - small.picture if baseline == "image" else baseline
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MapWarning)
        found = small.run("integrated_gradients", steps=1, baseline=given, seed=4)
    batch = found.batch
    start = {
        "black": np.full_like(small.x, -1.0),
        "mean": np.zeros_like(small.x),
        "blurred": vizkit.references.reference("blurred", batch, small.model.spec)[0],
        "noise": generator(4, 0).random(small.x.shape) * 2 - 1,
        "image": -small.x,
    }[baseline]
    expected = ((small.x - start) * small.gradient((small.x + start) / 2, 1)).sum(0)
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.quick
def test_an_incomplete_integral_warns(small: Small) -> None:
    with pytest.warns(MapWarning, match=r"should give .* off. Take more than 1 steps") as caught:
        found = small.run("integrated_gradients", steps=1, rule="riemann_left")
    assert found.extra["completeness_error"][0] > 0.05
    assert [one.filename for one in caught if one.category is MapWarning] == [__file__]


@pytest.mark.quick
def test_full_gradient(small: Small) -> None:
    g = small.gradient(small.x, 1)
    inner = small.v[1] * (small.z(small.x) > 0)
    shown = np.abs(small.x * g).sum(0) + np.abs(small.b[:, None, None] * inner).sum(0)
    found = small.run("full_gradient", scale="none")
    np.testing.assert_allclose(found.values[0], shown, rtol=1e-9)
    assert found.extra["completeness_error"][0] < 1e-12

    def scaled(term: np.ndarray) -> np.ndarray:
        size = np.abs(term) - np.abs(term).min((1, 2), keepdims=True)
        return (size / np.where(size.max((1, 2)) > 0, size.max((1, 2)), 1)[:, None, None]).sum(0)

    expected = scaled(small.x * g) + scaled(small.b[:, None, None] * inner)
    np.testing.assert_allclose(small.run("full_gradient").values[0], expected, rtol=1e-9)


@pytest.mark.quick
def test_full_gradient_is_complete_through_batch_norm(name: str) -> None:
    model = vizkit.wrap(kit_of(name).sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.5,) * 3)
    picture = np.random.default_rng(1).integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)
    assert set(model.biases()) == {str(i) for i, (kind, *_) in enumerate(TRAPS) if kind in ("conv", "norm", "dense")}
    assert vizkit.full_gradient(model, picture).extra["completeness_error"][0] < 1e-12


@pytest.mark.quick
def test_class_activation_maps(small: Small) -> None:
    a, g = small.a(small.x), small.v[1]
    total = a.sum((1, 2))
    share = np.divide((a * g).sum((1, 2)), total, out=np.zeros(2), where=total != 0)
    below = 2 * g**2 + total[:, None, None] * g**3
    plus = (g**2 / below * np.maximum(g, 0)).sum((1, 2))
    score = small.score(small.x, 1)
    without = []
    masked = []
    for k in range(2):
        left = a.copy()
        left[k] = 0
        without.append((small.v[1] * left).sum() + small.c[1])
        span = np.ptp(a[k])
        mask = (a[k] - a[k].min()) / span if span > 0 else np.zeros_like(a[k])
        masked.append(small.score(small.x * mask, 1))
    soft = np.exp(masked) / np.exp(masked).sum()
    u, s, _ = np.linalg.svd(a.reshape(2, -1).T, full_matrices=False)
    eigen = (u[:, 0] * s[0]).reshape(SIZE, SIZE)
    by_hand = {
        "gradcam": np.einsum("k,khw->hw", g.mean((1, 2)), a),
        "xgradcam": np.einsum("k,khw->hw", share, a),
        "gradcam_plus_plus": np.einsum("k,khw->hw", plus, a),
        "hirescam": (a * g).sum(0),
        "layercam": (a * np.maximum(g, 0)).sum(0),
        "scorecam": np.einsum("k,khw->hw", soft, a),
        "ablationcam": np.einsum("k,khw->hw", (score - np.array(without)) / abs(score), a),
        "eigencam": eigen * np.sign(eigen.sum()),
    }
    for method, expected in by_hand.items():
        signed = small.run(method, layer="1", relu=False)
        np.testing.assert_allclose(signed.extra["cam"][0], expected, rtol=1e-9, atol=1e-12, err_msg=method)
        assert signed.signed
        if expected.max() > 0:
            clipped = small.run(method, layer="1", relu=True)
            assert not clipped.signed
            np.testing.assert_allclose(clipped.values[0], np.maximum(expected, 0), rtol=1e-9, atol=1e-12)
    assert by_hand["hirescam"].sum() == pytest.approx(score - small.c[1])


@pytest.mark.quick
def test_the_ranges_of_images_are_measured_in_float64(name: str) -> None:
    """In float32 a difference loses digits; the images must be such that it would."""
    model = perturb.small(name)
    images = [(0.6 * one + i).astype(np.uint8) for i, one in enumerate(perturb.pictures(4))]
    job = Job("smoothgrad", model, images, 1, input_range="imagenet", fit="squash", batch_size=None)
    x = job.batch.tensor.astype(np.float64)
    ranges = np.ptp(x.reshape(4, -1), axis=1)
    assert (ranges != np.ptp(job.batch.tensor.reshape(4, -1), axis=1)).any()
    noise = Noise(job, 0.2, 3, 5)
    for i in range(4):
        found = model.ops.numpy(noise.noisy(i, range(1, 3)))
        expected = [x[i] + 0.2 * ranges[i] * drawn(3, sample, x.shape[1:]) for sample in (1, 2)]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


@pytest.mark.quick
def test_smooth_gradcam_plus_plus(name: str) -> None:
    """With a second layer behind the map, so that its gradient moves with the noise."""
    model = vizkit.wrap(kit_of(name).sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.5,) * 3)
    picture = np.random.default_rng(1).integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)
    found = vizkit.smooth_gradcam_plus_plus(
        model, picture, target=1, layer="3", samples=3, noise=0.3, seed=2, fit="squash"
    )
    x = found.batch.tensor.astype(np.float64)
    points = np.concatenate([x + 0.3 * np.ptp(x) * drawn(2, s, x.shape[1:]) for s in range(3)])
    ops = model.ops

    def score(leaves: dict[str, Any]) -> Any:
        return model.forward(ops.asarray(points), add={"3": leaves["3"]})["output"][:, 1], None

    zeros = ops.asarray(np.zeros((3, *model.layers["3"].shape[1:])))
    g = ops.numpy(ops.value_and_grad(score, {"3": zeros})[1]["3"])
    assert np.abs(g[0] - g[1]).max() > 0
    a = ops.numpy(model.forward(ops.asarray(x), ("3",))["3"])[0]
    below = 2 * (g**2).mean(0) + a.sum((1, 2))[:, None, None] * (g**3).mean(0)
    alpha = np.divide((g**2).mean(0), below, out=np.zeros_like(below), where=below != 0)
    weights = (alpha * np.maximum(g.mean(0), 0)).sum((1, 2))
    np.testing.assert_allclose(found.extra["cam"][0], np.maximum(np.einsum("k,khw->hw", weights, a), 0), rtol=1e-9)


def up(maps: Any) -> Any:
    """(N, h, w) to the input's size, by the matrix of bilinear interpolation."""
    matrix = bilinear_matrix(maps.shape[1], TRAPS_SIZE)
    return matrix @ maps @ matrix.T


@pytest.mark.quick
def test_fusion_is_the_papers(name: str) -> None:
    model = vizkit.wrap(kit_of(name).sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.5,) * 3)
    picture = np.random.default_rng(1).integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)
    found = vizkit.layercam(model, picture, target=1, layer=["2", "7"])
    maps = [vizkit.layercam(model, picture, target=1, layer=layer).extra["cam"][0] for layer in ("2", "7")]
    expected = np.maximum(*(up(np.tanh(2 * one / one.max())) for one in maps))
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-9)
    with pytest.raises(SettingError, match="only clipped maps can be fused"):
        vizkit.layercam(model, picture, layer=["2", "7"], relu=False)


LOGIT_MAPS = [
    ("conv", 3, 6, 3, 1),
    ("relu",),
    ("dropout", 0.5),
    ("conv", 6, 4, 1, 0),
    ("pool",),
    ("pool",),
    ("flatten",),
]


@pytest.mark.parametrize(
    ("layers", "size", "expected"),
    [
        (TRAPS, TRAPS_SIZE, "8"),
        (LAYERS, SIZE, "1"),
        # Maps with a channel for each class are passed over, and so is dropout, which some frameworks do not show.
        (LOGIT_MAPS, SIZE, "1"),
        # Nothing but maps of logits: the last of them with extent.
        ([("conv", 3, 4, 3, 1), ("pool",), ("pool",), ("flatten",)], SIZE, "1"),
    ],
)
@pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")
def test_the_layer_that_is_taken(name: str, layers: Any, size: int, expected: str) -> None:
    model = vizkit.wrap(kit_of(name).sequential(layers), input_size=size, mean=(0.5,) * 3, std=(0.5,) * 3)
    picture = np.random.default_rng(1).integers(0, 256, (size, size, 3), dtype=np.uint8)
    found = vizkit.gradcam(model, picture, relu=False)
    assert found.layer == expected
    assert found.provenance["settings"]["layer"] == expected


@pytest.mark.quick
def test_a_network_without_maps(name: str) -> None:
    native = kit_of(name).sequential([("conv", 3, 2, 1, 0), ("flatten",)])
    model = vizkit.wrap(native, input_size=1, mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(LayerError, match="nothing to map"):
        vizkit.gradcam(model, np.zeros((1, 1, 3), np.uint8), fit="squash")


@pytest.mark.quick
def test_layers_that_cannot_be_mapped(small: Small) -> None:
    with pytest.raises(LayerError, match=r"gives .*; a map needs .* The last such layer is '1'"):
        small.run("gradcam", layer="3")
    with pytest.raises(LayerError):
        small.run("gradcam", layer="output")
    with pytest.raises(UnknownNameError, match="layer"):
        small.run("gradcam", layer="convv")


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("smoothgrad", {"samples": 0}),
        ("smoothgrad", {"noise": -0.1}),
        ("smoothgrad", {"seed": -1}),
        ("integrated_gradients", {"steps": 0}),
        ("integrated_gradients", {"rule": "simpson"}),
        ("gradient_shap", {"baselines": "black"}),
        ("gradient_shap", {"baselines": []}),
        ("full_gradient", {"scale": "layer"}),
        ("layercam", {"layer": []}),
        ("gradcam", {"batch_size": 0}),
    ],
)
def test_settings_that_make_no_sense(small: Small, method: str, settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        small.run(method, **settings)


@pytest.mark.quick
def test_a_blank_map_says_why(name: str, small: Small) -> None:
    """A class against which both channels speak: the ReLU leaves nothing of it."""
    for seed in range(50):
        means = parameters(LAYERS, seed)[3]["weight"].reshape(3, 2, -1).mean(2)
        if (means[1] < 0).all():
            break
    assert (means[1] < 0).all()
    model = vizkit.wrap(kit_of(name).sequential(LAYERS, seed=seed), input_size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.warns(MapWarning, match=r"zero everywhere: all its evidence is negative.*relu=False"):
        vizkit.gradcam(model, small.picture, layer="1", target=1, fit="squash")
    with pytest.warns(MapWarning, match=r"gradients of all samples are the same"):
        small.run("vargrad", samples=1)


@pytest.mark.quick
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_map_that_is_not_finite_says_so(name: str) -> None:
    layers = [("conv", 3, 2, 1, 0), ("relu",), ("flatten",), ("dense", 2 * SIZE * SIZE, 3)]
    native = kit_of(name).sequential(layers)
    model = vizkit.wrap(native, input_size=SIZE, mean=(0.5,) * 3, std=(1e-200,) * 3)
    picture = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    with pytest.warns(MapWarning, match="not finite"):
        vizkit.gradient_x_input(model, picture, target=1, fit="squash")
