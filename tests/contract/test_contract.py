"""The contract, on every installed backend: a technique may rely on what is tested here, and on nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both, exercised
from kits import TRAPS_SIZE
from kits import kit as kit_of

from vizkit import backend as contract
from vizkit.backend import Mode
from vizkit.contract.errors import unknown
from vizkit.testing import ContractTests


class TestContract(ContractTests):
    """Every requirement, with nothing optional left out."""


@pytest.mark.quick
def test_every_installed_backend_has_networks_here() -> None:
    assert INSTALLED, "no backend is installed, so that nothing can be tested"
    for name in INSTALLED:
        assert kit_of(name).complete


@pytest.mark.quick
def test_an_unknown_name_is_told_with_known_ones() -> None:
    """The nearest; else all, or some where another command lists them or there are very many."""
    many = [f"one{i}" for i in range(100)]
    assert str(unknown("thing", "one7x", many)).startswith("Unknown thing 'one7x'. Did you mean 'one7'")
    assert str(unknown("thing", "?", many)) == f"Unknown thing '?'. Known: {', '.join(many)}."
    some = ", ".join(many[:12])
    assert str(unknown("thing", "?", many, "See there.")) == f"Unknown thing '?'. Known: {some}, …. See there."
    assert str(unknown("thing", "?", many * 2)) == f"Unknown thing '?'. Known: {some}, …."


@pytest.mark.quick
def test_who_names_no_backend_gets_pytorch_else_the_first_of_the_alphabet(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(*names: str) -> dict[str, Any]:
        known = {one: type(one, (), {"name": one, "installed": staticmethod(lambda: True)}) for one in names}
        monkeypatch.setattr(contract, "registered", lambda: known)
        monkeypatch.setattr(contract, "_started", {})
        return known

    for names, expected in ((("gluon", "torch", "zeta"), "torch"), (("gluon", "zeta"), "gluon")):
        known = of(*names)
        assert type(contract.find()) is known[expected]


@both()
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-5)])
@pytest.mark.parametrize("training", [False, True])
def test_backends_are_equal(rng: Any, dtype: str, tolerance: float, training: bool) -> None:
    """Max-pool, dropout and batch norm: the network on which MXNet's obvious way gives garbage; in training mode, with
    masks of one generator."""
    x = rng.normal(size=(4, 3, TRAPS_SIZE, TRAPS_SIZE))
    found = []
    for name in INSTALLED:
        model = kit_of(name).model(dtype=dtype)
        ops = model.ops

        def score(leaves: Any, model: Any = model) -> Any:
            mode = Mode(training=np.random.default_rng(5) if training else None)
            kept = model.forward(leaves["x"], ("5", "output"), {"5": leaves["5"]}, mode=mode)
            return model.ops.sum(kept["output"] * kept["output"], 1), kept

        leaves = {"x": ops.asarray(x), "5": ops.zeros((4, 8, 8, 8))}
        scores, grads, kept = ops.value_and_grad(score, leaves)
        values = (scores, grads["x"], grads["5"], kept["5"], kept["output"])
        found.append([ops.numpy(value) for value in values])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert a.dtype == b.dtype == np.dtype(dtype)
            assert np.abs(a - b).max() <= tolerance * np.abs(a).max()


@pytest.mark.quick
def test_started_backends_keep_their_threads() -> None:
    """Importing one framework must not slow another down: MXNet's import takes PyTorch to one thread."""
    counts = {name: contract.get(name).threads() for name in INSTALLED}
    assert all(count == max(counts.values()) for count in counts.values())


@pytest.mark.quick
def test_every_installed_backend_was_exercised(request: pytest.FixtureRequest) -> None:
    """Last in this file: a backend that is installed and registered, and was passed over, is a failure."""
    names = {item.name for item in request.session.items if "kit" in getattr(item, "fixturenames", ())}
    if not any(name.startswith("test_nothing_leaks") for name in names):
        pytest.skip("only a part of the suite was selected")
    assert exercised == {name for name, backend in contract.registered().items() if backend.installed()}
