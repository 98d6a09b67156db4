"""What the contract requires of passes: terms at every layer, and functions that are differentiated; kinks; what a pass
leaves alone, and what threads see of one another."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from vizkit.contract.backend import OUTPUT, Array
from vizkit.contract.probes import Case
from vizkit.reports.doctor import reference

from .assertions import assert_close, optional, required
from .kit import TRAPS, Kit, case, wrap
from .of_models import LAST, gradient, logit, output, pictures, true_values


def rest(layer: str, value: Array) -> Array:
    """The output of the suite's network for values at a layer, in NumPy."""
    return reference.forward(Case("", case(TRAPS).parts[int(layer) + 1 :], (3, 1, 1)), value)


class PassTests:
    """Extended by :class:`vizkit.testing.ContractTests`."""

    @required("Model.forward(add=)")
    def test_terms_at_every_layer(self, kit: Kit) -> None:
        """A term counts at every layer, the first and the last, too, and however the network was prepared."""
        model, (truth, _), rng = kit.model(), true_values(), np.random.default_rng(4)
        for name in model.layers:
            extra = rng.normal(size=truth[name].shape)
            add = {name: model.ops.asarray(extra)}
            kept = model.forward(model.ops.asarray(pictures(2)), (name, OUTPUT), add)
            assert_close(model.ops.numpy(kept[name]), truth[name] + extra, f"layer {name!r} and its term")
            found = model.forward(model.ops.asarray(pictures(2)), (OUTPUT,), add)[OUTPUT]
            assert_close(
                model.ops.numpy(found), rest(name, truth[name] + extra), f"the output, with a term at {name!r}"
            )

    @required("Model.forward(add=)")
    def test_gradients_go_through_a_function_that_is_added(self, kit: Kit) -> None:
        """A function gets the output as it was computed, so that what comes back through it reaches the picture."""
        model, (truth, _) = kit.model(), true_values()

        def score(leaves: dict[str, Any]) -> Any:
            add = {"5": lambda value: value * value, OUTPUT: lambda value: value * value}
            return model.ops.sum(model.forward(leaves["x"], add=add)[OUTPUT], 1), None

        def value(x: Array) -> float:
            at = reference.forward(Case("", case(TRAPS).parts[:6], (3, 1, 1)), x)
            last = rest("5", at + at * at)
            return float((last + last * last).sum())

        along, step = np.random.default_rng(1).normal(size=truth["0"][:, :3].shape), 1e-7
        slope = (value(pictures(2) + step * along) - value(pictures(2) - step * along)) / (2 * step)
        found = (gradient(model, pictures(2), score) * along).sum()
        assert found == pytest.approx(slope, rel=1e-6 if kit.dtype == "float64" else 1e-3)

    @required("Model.forward, Ops.relu")
    def test_a_relu_has_no_slope_at_zero(self, kit: Kit) -> None:
        """At 0 the slope of ``max(0, x)`` is 0, of the network's own and of ``Ops.relu``."""
        model = kit.model([("relu",), ("flatten",), ("dense", 12, 2)], 2)
        ops, x = model.ops, np.zeros((1, 3, 2, 2))
        x[0, 0] = 1
        assert (gradient(model, x, logit(model, 0)) != 0).tolist() == (x > 0).tolist()
        found = gradient(model, x, lambda leaves: (ops.sum(ops.relu(leaves["x"]), (1, 2, 3)), None))
        np.testing.assert_array_equal(found, x)

    @required("Model.forward, Ops.value_and_grad")
    def test_numpys_generator_is_left_alone(self, kit: Kit) -> None:
        """A pass draws nothing from NumPy's global generator, and does not seed it."""
        before = np.random.get_state()  # noqa: NPY002
        model = kit.model()
        gradient(model, pictures(1), logit(model, 0))
        after = np.random.get_state()  # noqa: NPY002
        assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))

    @optional("Kit.write")
    def test_every_number_counts(self, kit: Kit) -> None:
        """A single number of a parameter that was written shows in the digest and in the next pass (Model._state)."""
        native, x = kit.sequential(TRAPS), pictures(1)
        model = wrap(native)
        values, digests = case(TRAPS).parts[int(LAST)].arrays["bias"].copy(), {model.sha256()}
        for i in range(len(values)):
            before = output(model, x)
            values[i] += 1
            kit.write(native, f"{LAST}.bias", values)
            digests.add(model.sha256())
            assert len(digests) == i + 2, f"the digest is blind to number {i} of {len(values)}"
            assert_close(output(model, x) - before, np.eye(len(values))[[i]], f"what number {i} adds")

    @required("Model.forward")
    def test_one_network_in_several_threads(self, kit: Kit) -> None:
        """Threads may call one model at once, and two of one network: no pass sees anything of another's."""
        native, wrong, ready = kit.sequential(TRAPS), [], threading.Barrier(3)
        models = [wrap(native), wrap(native)]
        models.append(models[0])
        names, x = (("0", "5", LAST), ("2", "8"), ("3",)), pictures(2)
        wanted = [{name: true_values()[0][name] for name in some} for some in names]

        def work(i: int) -> None:
            model, ops = models[i], models[i].ops
            try:
                ready.wait()
                for _ in range(8):
                    kept = model.forward(ops.asarray(x), names[i])
                    assert set(kept) == set(names[i])
                    for name, value in wanted[i].items():
                        assert_close(ops.numpy(kept[name]), value, f"layer {name!r}")
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert not wrong, wrong[0]
