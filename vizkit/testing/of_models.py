"""What the contract requires of :class:`vizkit.backend.Model`.

Where a number is expected, it comes from :mod:`vizkit.reports.doctor.reference`, NumPy in float64 with central
differences, or is written out here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from vizkit.contract.backend import INFERENCE, OUTPUT, Array, Mode, Model
from vizkit.contract.errors import DisconnectedError, SettingError, ShapeError, UnknownNameError
from vizkit.contract.probes import Case
from vizkit.contract.terms import digest
from vizkit.reports.doctor import reference

from .assertions import assert_close, required
from .kit import TRAPS, TRAPS_SIZE, Kit, case, wrap

LAST = str(len(TRAPS) - 1)


def pictures(count: int, size: int = TRAPS_SIZE) -> Array:
    """The same numbers in every backend."""
    return np.random.default_rng(12345).normal(size=(count, 3, size, size))


def logit(model: Model, index: int, *layers: str) -> Any:
    """A score function for value_and_grad: one logit, with zero tensors added at some layers."""

    def score(leaves: dict[str, Any]) -> Any:
        kept = model.forward(leaves["x"], (OUTPUT, *layers), {name: leaves[name] for name in layers})
        return kept[OUTPUT][:, index], kept

    return score


def zeros(model: Model, layer: str, n: int) -> Any:
    """What is added at a layer to differentiate there."""
    return model.ops.zeros((n, *model.layers[layer].shape[1:]))


def output(model: Model, x: Array, mode: Mode = INFERENCE) -> Array:
    """The network's last result for arrays."""
    return model.ops.numpy(model.forward(model.ops.asarray(x), mode=mode)[OUTPUT])


def gradient(model: Model, x: Array, score: Callable[[dict[str, Any]], Any]) -> Array:
    """Of a score at the input."""
    return model.ops.numpy(model.ops.value_and_grad(score, {"x": model.ops.asarray(x)})[1]["x"])


def summed(model: Model, mode: Mode) -> Callable[[dict[str, Any]], Any]:
    """The sum of all logits, in a mode."""
    return lambda leaves: (model.ops.sum(model.forward(leaves["x"], mode=mode)[OUTPUT], 1), None)


@lru_cache(maxsize=1)
def true_values() -> tuple[dict[str, Array], dict[str, Array]]:
    """Every layer's output for two pictures, and the gradients of their third logits at the input, "3" and "5"."""
    parts, x = case(TRAPS).parts, pictures(2)
    outputs = {str(i): reference.forward(Case("", parts[: i + 1], (3, 1, 1)), x) for i in range(len(parts))}
    slopes = {}
    for name, at in {"x": x, "3": outputs["3"], "5": outputs["5"]}.items():
        rest = Case("", parts[0 if name == "x" else int(name) + 1 :], (3, 1, 1))
        slopes[name] = reference.gradient(rest, at, np.eye(5)[[2, 2]])
    return outputs, slopes


class Boom(Exception):
    """A fault in the user's objective."""


class ModelTests:
    """Extended by :class:`vizkit.testing.ContractTests`."""

    @required("Model.forward, Ops.value_and_grad")
    def test_a_network_computed_by_hand(self, kit: Kit) -> None:
        """The logits are the dense layer's of the largest window sum, and the gradient at the input is the
        convolution's weight, times the dense layer's, in that window."""
        layers = [("conv", 3, 1, 2, 0), ("relu",), ("pool",), ("flatten",), ("dense", 1, 2)]
        model, (first, *_, last) = kit.model(layers, 3), case(layers).parts
        w, b, v, c = (part.arrays[name].astype(kit.dtype) for part in (first, last) for name in ("weight", "bias"))
        near = 1e-12 if kit.dtype == "float64" else 1e-5  # so that nothing on the way is rounded to float32
        x = -np.arange(27.0).reshape(1, 3, 3, 3) / 10
        windows = {(i, j): (x[0, :, i : i + 2, j : j + 2] * w[0]).sum() + b[0] for i in (0, 1) for j in (0, 1)}
        i, j = max(windows, key=lambda at: windows[at])
        hidden = max(windows[i, j], 0.0)
        assert hidden > 0.1, "nothing would go back"
        np.testing.assert_allclose(output(model, x)[0], v[:, 0] * hidden + c, rtol=near)
        expected = np.zeros_like(x)
        expected[0, :, i : i + 2, j : j + 2] = w[0] * v[1, 0] * (hidden > 0)
        np.testing.assert_allclose(gradient(model, x, logit(model, 1)), expected, rtol=near, atol=1e-12)

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    @required("Model.forward, Model.layers, Ops.value_and_grad")
    def test_layers_and_gradients_are_the_references(self, kit: Kit, dtype: str) -> None:
        """Every layer's output, and in one backward pass the gradients at the input and at two layers, are those of
        NumPy in float64 and central differences, in every guise of the network, in inference semantics: dropout off,
        batch norm on stored statistics."""
        if dtype not in kit.framework().dtypes:
            pytest.skip(f"{kit.backend} does not compute in {dtype}")
        x, (truth, slopes) = pictures(2), true_values()
        for guise, native in kit.variants(kit.sequential(TRAPS, dtype=dtype)).items():
            model = wrap(native)
            assert list(model.layers) == list(truth), f"{guise}: layers in the order in which they run"
            kept = model.forward(model.ops.asarray(x), [*truth, OUTPUT])
            for name, expected in truth.items():
                found = model.ops.numpy(kept[name])
                assert found.dtype == dtype
                assert_close(found, expected, f"layer {name!r} ({guise})")
                assert model.layers[name].shape == (1, *expected.shape[1:])
            assert_close(model.ops.numpy(kept[OUTPUT]), truth[LAST], "the output")
            leaves = {"x": model.ops.asarray(x), "3": zeros(model, "3", 2), "5": zeros(model, "5", 2)}
            _, gradients, _ = model.ops.value_and_grad(logit(model, 2, "3", "5"), leaves)
            for name, expected in slopes.items():
                assert np.abs(expected).max() > 0.01
                got = model.ops.numpy(gradients[name])
                assert got.shape == expected.shape
                limit = 3e-5 if dtype == "float32" else 1e-7  # central differences are good to 1e-9
                assert np.abs(got - expected).max() <= limit * np.abs(expected).max(), f"gradient at {name!r} ({guise})"

    @required("Model.layers, Model.output_shape, Model.layer")
    def test_shapes(self, kit: Kit) -> None:
        """Layers carry their names and shapes for a batch of one, and the output its own."""
        model = kit.model()
        assert [layer.name for layer in model.layers.values()] == list(model.layers)
        assert model.layers["3"].shape == (1, 6, 8, 8)
        assert tuple(model.output_shape) == model.layers[LAST].shape == model.layer(OUTPUT).shape == (1, 5)

    @required("Model.forward")
    def test_batch_equals_one_by_one(self, kit: Kit) -> None:
        """A batch gives what its pictures give one by one, scores and gradients."""
        model, x = kit.model(), pictures(3)
        score = logit(model, 1)
        for i in range(3):
            one = x[i : i + 1]
            assert_close(output(model, x)[i : i + 1], output(model, one))
            assert_close(gradient(model, x, score)[i : i + 1], gradient(model, one, score))

    @required("Ops.value_and_grad")
    def test_asking_for_one_gradient_more_changes_no_other(self, kit: Kit) -> None:
        """Every gradient is complete, whatever else is asked for."""
        model = kit.model()
        leaves = {"x": model.ops.asarray(pictures(1)), "2": zeros(model, "2", 1), "5": zeros(model, "5", 1)}
        _, more, _ = model.ops.value_and_grad(logit(model, 0, "2", "5"), leaves)
        assert_close(model.ops.numpy(more["x"]), gradient(model, pictures(1), logit(model, 0)))

    @required("Model.forward")
    def test_truncation_needs_no_later_layer(self, kit: Kit) -> None:
        """A picture too small for the dense layer is fine as long as that is not asked for, and a ShapeError that names
        the picture's shape when it is."""
        model = kit.model()
        x = model.ops.asarray(np.ones((1, 3, 12, 20)))
        assert tuple(model.forward(x, ("8",))["8"].shape) == (1, 8, 3, 5)
        with pytest.raises(ShapeError, match=r"12, 20"):
            model.ops.numpy(model.forward(x)[OUTPUT])

    @required("Model.forward")
    def test_kept_activations_are_not_overwritten(self, kit: Kit) -> None:
        """What is kept before a ReLU that works in place stays as it was, and so does the picture."""
        model = kit.model([("relu",), *TRAPS])
        x = model.ops.asarray(pictures(1))
        kept = {key: model.ops.numpy(value) for key, value in model.forward(x, ("2", "3", OUTPUT)).items()}
        assert kept["2"].min() < 0
        np.testing.assert_array_equal(kept["3"], np.maximum(kept["2"], 0))
        np.testing.assert_array_equal(model.ops.numpy(x), pictures(1).astype(kit.dtype))

    @required("Model.forward(add=)")
    def test_added_tensor_changes_what_follows(self, kit: Kit) -> None:
        """What is added to a layer's output is in what is kept of it, and in all that reads it."""
        model, x = kit.model(), pictures(1)
        plain = model.ops.numpy(model.forward(model.ops.asarray(x), ("10",))["10"])
        extra = np.random.default_rng(1).normal(size=(1, 10))
        moved = model.forward(model.ops.asarray(x), ("10", OUTPUT), {"10": model.ops.asarray(extra)})
        assert_close(model.ops.numpy(moved["10"]), plain + extra)
        arrays = case(TRAPS).parts[13].arrays
        expected = np.maximum(plain + extra, 0) @ arrays["weight"].T + arrays["bias"]
        assert_close(model.ops.numpy(moved[OUTPUT]), expected)
        shifted = model.forward(model.ops.asarray(x), (OUTPUT,), {OUTPUT: model.ops.asarray(np.ones((1, 5)))})
        assert_close(model.ops.numpy(shifted[OUTPUT]), output(model, x) + 1)
        twice = model.forward(
            model.ops.asarray(x), ("10", OUTPUT), {"10": lambda value: value, OUTPUT: lambda value: -value}
        )
        assert_close(model.ops.numpy(twice["10"]), 2 * plain)
        assert not model.ops.numpy(twice[OUTPUT]).any()

    @pytest.mark.parametrize(("layer", "count", "shape"), [("10", 2, (1, 10)), ("10", 1, (2, 10)), (OUTPUT, 2, (1, 5))])
    @required("Model.forward(add=)")
    def test_an_added_tensor_of_another_shape_is_refused(
        self, kit: Kit, layer: str, count: int, shape: tuple[int, ...]
    ) -> None:
        """A framework would repeat it for each picture, or the picture for each of its rows."""
        model = kit.model()
        with pytest.raises(ShapeError, match="shape"):
            model.forward(model.ops.asarray(pictures(count)), (OUTPUT,), {layer: model.ops.zeros(shape)})

    @pytest.mark.parametrize("how", ["success", "objective fails", "stops early", "interrupted", "bad layer"])
    @required("Model.forward, Ops.value_and_grad")
    def test_nothing_leaks(self, kit: Kit, how: str) -> None:
        """A pass leaves the user's network as it was, also when it fails: the kit's snapshot is the same."""
        for native in kit.variants(kit.sequential(TRAPS)).values():
            kit.leave_gradients(native, pictures(2).astype(kit.dtype))
            before = kit.snapshot(native)
            model = wrap(native)
            leaves = {"x": model.ops.asarray(pictures(2))}

            def score(given: Any, model: Model = model) -> Any:
                out = model.forward(given["x"], ("5", OUTPUT))
                if how == "objective fails":
                    raise Boom
                if how == "interrupted":
                    raise KeyboardInterrupt
                if how == "bad layer":
                    model.forward(given["x"], ("nowhere",))
                return model.ops.sum(out[OUTPUT], 1), out

            if how == "success":
                model.ops.value_and_grad(score, leaves)
            elif how == "stops early":
                model.forward(leaves["x"], ("2",))
            else:
                expected = {"objective fails": Boom, "interrupted": KeyboardInterrupt, "bad layer": UnknownNameError}
                with pytest.raises(expected[how]):
                    model.ops.value_and_grad(score, leaves)
            assert kit.snapshot(native) == before

    @required("Model.forward")
    def test_a_fault_inside_the_network_leaks_nothing(self, kit: Kit) -> None:
        """A picture that the network cannot take is a ShapeError, after which it is as before."""
        native = kit.sequential(TRAPS)
        before = kit.snapshot(native)
        model = wrap(native)
        with pytest.raises(ShapeError):
            output(model, np.ones((1, 3, 12, 12)))
        assert kit.snapshot(native) == before

    @required("Ops.value_and_grad")
    def test_a_disconnected_request_raises(self, kit: Kit) -> None:
        """A score that does not depend on a leaf is a DisconnectedError that names the leaf, never a gradient of
        zero: a constant, a tensor that was cut off, a layer behind the score."""
        model, x = kit.model(), pictures(1)
        ops = model.ops
        with pytest.raises(DisconnectedError, match="'x'"):
            gradient(model, x, lambda given: (ops.asarray([1.0, 2.0]), None))
        with pytest.raises(DisconnectedError, match="'x'"):
            gradient(model, x, lambda given: (model.forward(ops.detach(given["x"]))[OUTPUT][:, 0], None))

        def early(given: Any) -> Any:
            return ops.sum(model.forward(given["x"], ("2",), {"7": given["7"]})["2"], (1, 2, 3)), None

        with pytest.raises(DisconnectedError, match="'7'"):
            ops.value_and_grad(early, {"x": ops.asarray(x), "7": zeros(model, "7", 1)})

    @required("Model.forward, Ops.value_and_grad")
    def test_names_shapes_and_scores_are_checked(self, kit: Kit) -> None:
        """An unknown layer, a picture of other channels, nothing to keep, and scores that are not (N,) are errors."""
        model = kit.model()
        x = model.ops.asarray(pictures(1))
        with pytest.raises(UnknownNameError, match=r"layer .*'55'.*Did you mean '5'"):
            model.forward(x, ("55",))
        with pytest.raises(ShapeError, match=r"\(N, 3, H, W\); got \(1, 2, 16, 16\)"):
            model.forward(model.ops.asarray(np.ones((1, 2, 16, 16))))
        with pytest.raises(SettingError, match="keeps nothing"):
            model.forward(x, ())
        with pytest.raises(ShapeError, match=r"\(N,\)"):
            model.ops.value_and_grad(lambda given: (model.forward(given["x"])[OUTPUT], None), {"x": x})

    @required("Model.parameter_shapes, Model.parameter, Model.sha256")
    def test_parameters(self, kit: Kit) -> None:
        """Parameters and stored statistics are float32 copies by LAYER.weight and LAYER.bias, or, of norms, the
        framework's own words after the layer's name; the digest is over all of them by sorted name."""
        model = kit.model()
        shapes = {name: tuple(shape) for name, shape in model.parameter_shapes().items()}
        for i, part in enumerate(case(TRAPS).parts):
            own = {name: model.parameter(name) for name in shapes if name.rpartition(".")[0] == str(i)}
            expected = {name: value.astype(kit.dtype).astype(np.float32) for name, value in part.arrays.items()}
            assert len(own) == len(expected), f"parameters of layer {i}: {', '.join(own) or 'none'}"
            for name, found in own.items():
                assert found.dtype == np.float32
                assert found.shape == shapes[name]
                word = name.rpartition(".")[2]
                allowed = [expected[word]] if part.kind != "batch_norm" else list(expected.values())
                assert any(np.array_equal(found, one) for one in allowed), f"{name} has other values"
                found += 1
                assert any(np.array_equal(model.parameter(name), one) for one in allowed), f"{name} is no copy"
        assert model.sha256() == digest((name, model.parameter(name)) for name in sorted(shapes))

    @required("Model.with_parameters")
    def test_with_parameters(self, kit: Kit) -> None:
        """A new model with the given values, in the model's own dtype, and the others as they are; the network, and its
        model, stay as they were."""
        native = kit.sequential(TRAPS)
        before, model, x = kit.snapshot(native), wrap(native), pictures(1)
        plain, own = output(model, x), model.sha256()
        bias = np.arange(5.0) / 3  # which float32 does not hold
        changed = model.with_parameters({"13.bias": bias})
        assert_close(output(changed, x), plain - case(TRAPS).parts[13].arrays["bias"] + bias)
        assert changed.sha256() != own == model.sha256()
        np.testing.assert_array_equal(output(model, x), plain)
        assert kit.snapshot(native) == before

    @required("Model.held, Model.recorded")
    def test_what_is_prepared_gives_the_same(self, kit: Kit) -> None:
        """Holding, recording and preparing a network are for speed alone: results are the same, to rounding."""
        native, x = kit.sequential(TRAPS), pictures(2)
        model, plain = wrap(native), wrap(native)
        plain.optimise = False
        with model.held(), model.held():
            assert_close(output(model, x), output(plain, x))
        step = model.recorded(lambda leaves: {"y": leaves["x"] * 2.0 + model.ops.constant(np.full, (1, 1), 3.0)}, "key")
        for factor in (1.0, 5.0):
            found = model.ops.numpy(step({"x": model.ops.asarray(np.full((2, 2), factor))})["y"])
            np.testing.assert_array_equal(found, np.full((2, 2), 2 * factor + 3))
