"""What the contract requires of the parts of :class:`vizkit.backend.Model` that a backend may go without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vizkit.contract.backend import OUTPUT, Array, Mode
from vizkit.contract.errors import DisconnectedError, LayerError
from vizkit.contract.probes import Case
from vizkit.reports.doctor import reference

from .assertions import assert_close, optional
from .kit import EPSILON, TRAPS, Kit, case, wrap
from .of_models import LAST, gradient, logit, output, pictures, summed, zeros


class OptionTests:
    """Extended by :class:`vizkit.testing.ContractTests`."""

    @optional("Kit.watch")
    def test_the_forward_pass_stops(self, kit: Kit) -> None:
        """Nothing is computed after the last activation that is kept (Model.forward)."""
        native = kit.sequential(TRAPS)
        calls = kit.watch(native, "8")
        model = wrap(native)
        _ = model.layers
        calls.clear()
        kept = model.forward(model.ops.asarray(pictures(1)), ("5", "2"))
        assert set(kept) == {"5", "2"}
        assert calls == []
        assert tuple(kept["5"].shape) == (1, 8, 8, 8)

    @optional("Kit.side")
    def test_kept_activations_survive_a_sum_in_place(self, kit: Kit) -> None:
        """What is kept is what the layer gave, also where the network adds to it in place (Model.forward)."""
        side, x = wrap(kit.side(), 6), pictures(1, 6)
        whole, alone = (
            side.ops.numpy(side.forward(side.ops.asarray(x), names)["conv"]) for names in (("conv", OUTPUT), ("conv",))
        )
        np.testing.assert_array_equal(whole, alone)

    @optional("Kit.side")
    def test_a_layer_whose_result_is_thrown_away_is_disconnected(self, kit: Kit) -> None:
        """A gradient at a layer that nobody reads is a DisconnectedError (Ops.value_and_grad)."""
        model = wrap(kit.side(), 6)
        leaves = {"x": model.ops.asarray(pictures(1, 6)), "side": zeros(model, "side", 1)}
        with pytest.raises(DisconnectedError, match="'side'"):
            model.ops.value_and_grad(logit(model, 0, "side"), leaves)

    @optional("Kit.reuse")
    def test_a_layer_that_runs_twice_is_refused(self, kit: Kit) -> None:
        """A layer that runs more than once in a pass is not among Model.layers, and a LayerError when it is named."""
        model = wrap(kit.reuse(), 6)
        assert list(model.layers) == ["conv", "last"]
        with pytest.raises(LayerError, match="more than once"):
            model.forward(model.ops.asarray(pictures(1, 6)), ("relu",))

    @optional("Model.biases")
    def test_biases(self, kit: Kit) -> None:
        """float64, for each convolution and dense layer its bias, and for each batch norm
        ``beta - gamma * mean / sqrt(variance + eps)``."""
        found = kit.model().biases()
        expected = {}
        for i, part in enumerate(case(TRAPS).parts):
            if part.kind == "batch_norm":
                scale = part.arrays["weight"] / np.sqrt(part.arrays["var"] + EPSILON)
                expected[str(i)] = part.arrays["bias"] - scale * part.arrays["mean"]
            elif part.arrays:
                expected[str(i)] = part.arrays["bias"]
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert found[name].dtype == np.float64
            np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-6)

    @optional("Kit.write")
    def test_later_training_shows(self, kit: Kit) -> None:
        """A wrapped network is read where it lies, and its digest follows its weights (Model._state, Model.sha256); but
        not within Model.held, where it is taken to be as it was."""
        native = kit.sequential(TRAPS)
        model, x = wrap(native), pictures(1)
        before, own = output(model, x), model.sha256()
        assert wrap(kit.sequential(TRAPS)).sha256() == own != wrap(kit.sequential(TRAPS, seed=1)).sha256()
        with model.held():
            assert model.sha256() == own
            np.testing.assert_array_equal(output(model, x), before)
        doubled = 2 * model.parameter("0.weight")
        kit.write(native, "0.weight", doubled)
        assert np.abs(output(model, x) - before).max() > 1e-3
        assert model.sha256() != own
        assert_close(output(model, x), output(wrap(kit.sequential(TRAPS)).with_parameters({"0.weight": doubled}), x))

    @optional("Mode.training")
    def test_training_mode(self, kit: Kit) -> None:
        """Batch norm takes the batch's own mean and biased variance, and each dropout keeps where ``generator.random(
        shape, float32) >= rate``, times ``1 / (1 - rate)``, in the order in which they run. Nothing is stored."""
        native, x, seed = kit.sequential(TRAPS), pictures(4), 5
        before, model = kit.snapshot(native), wrap(native)
        mode = Mode(training=np.random.default_rng(seed))
        found = output(model, x, mode)
        assert np.abs(found - output(model, x)).max() > 0.1
        assert_close(found, trained(x, seed))
        slopes = gradient(model, x, summed(model, Mode(training=np.random.default_rng(seed))))
        step, along = 1e-6, np.random.default_rng(1).normal(size=x.shape)
        ends = [trained(x + sign * step * along, seed).sum() for sign in (1, -1)]
        limit = 1e-6 if kit.dtype == "float64" else 1e-3
        assert (slopes * along).sum() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=limit)

        def faulty(given: dict[str, Any]) -> Any:
            model.forward(given["x"], mode=mode)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            gradient(model, x, faulty)
        assert kit.snapshot(native) == before

    @optional("Model.graph")
    def test_graph(self, kit: Kit) -> None:
        """Nodes are in order, in vizkit's words with their settings, each reads the one before, and every layer has a
        node; parameters are counted once."""
        graph = kit.model().graph()
        assert graph.nodes[0].name == "input"
        assert graph.layers[OUTPUT] == graph.layers[LAST]
        words = {"dense": "linear"}
        last = "input"
        for i, part in enumerate(case(TRAPS).parts):
            node = graph[graph.layers[str(i)]]
            if node.name == last and part.kind in ("dropout", "flatten"):
                continue  # which a framework need not write down
            assert (node.kind, node.inputs) == (words.get(part.kind, part.kind), (last,))
            counted = [value.size for name, value in part.arrays.items() if name not in ("mean", "var")]
            assert node.parameters == sum(counted), f"trainable numbers of {node.name}"
            if part.kind == "conv":
                expected = {"kernel": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
                assert dict(node.settings) == expected
            if part.kind == "max_pool":
                expected = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)}
                assert dict(node.settings) == expected | {"ceil_mode": False}
            last = node.name


def trained(x: Array, seed: int) -> Array:
    """The suite's network in training mode, in NumPy."""
    generator = np.random.default_rng(seed)
    for part in case(TRAPS).parts:
        if part.kind == "batch_norm":
            mean, variance = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
            scale, shift = part.arrays["weight"][:, None, None], part.arrays["bias"][:, None, None]
            x = (x - mean) / np.sqrt(variance + EPSILON) * scale + shift
        elif part.kind == "dropout":
            rate = part.settings["rate"]
            x = x * (generator.random(x.shape, dtype=np.float32) >= rate) / (1 - rate)
        else:
            x = reference.forward(Case("", (part,), (3, 1, 1)), x)
    return x
