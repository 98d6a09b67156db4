"""What the contract requires of :class:`vizkit.backend.Backend`."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import vizkit
from vizkit.contract import backend as contract
from vizkit.contract.backend import OUTPUT, Call
from vizkit.contract.errors import SettingError, VizkitError
from vizkit.reports.doctor.examine import examine

from .assertions import optional, required
from .kit import Kit, case, wrap

LAZY = """
import sys
from {module} import {name} as backend
assert backend.installed(), "it says that it is not installed"
assert backend().versions(), "it has no versions"
assert isinstance(backend().models(), list), "its models are no list"
assert "{framework}" not in sys.modules, "{framework} was imported by the class, installed(), versions() or models()"
"""


class BackendTests:
    """Extended by :class:`vizkit.testing.ContractTests`."""

    @required("Backend, the entry-point group vizkit.backends")
    def test_it_is_registered(self, kit: Kit) -> None:
        """The backend is registered under its own name, with a class that names its framework, what it requires, and
        the command that installs it."""
        found = contract.registered()
        assert kit.backend in found, f"registered are {', '.join(found)}"
        known = found[kit.backend]
        assert (known.name, known.installed()) == (kit.backend, True)
        assert known.framework
        assert known.install
        assert set(known.dtypes) >= {"float32"}
        info = next(one for one in vizkit.backends() if one.name == kit.backend)
        assert info.versions
        assert info.devices[0] == "cpu"

    @required("Backend")
    def test_it_is_known_without_its_framework(self, kit: Kit) -> None:
        """In a new process the class can be imported and asked for its versions and models, and the framework is not
        imported."""
        known = contract.registered()[kit.backend]
        code = LAZY.format(module=known.__module__, name=known.__qualname__, framework=known.framework)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr

    @required("Backend.threads, Backend.set_threads")
    def test_threads(self, kit: Kit) -> None:
        """One operator may use at least one thread, and as many as it is let, where the framework can be told."""
        backend = kit.framework()
        before = backend.threads()
        assert before >= 1
        backend.set_threads(before)
        assert backend.threads() == before

    @required("Backend.load")
    def test_names_that_it_does_not_know(self, kit: Kit) -> None:
        """A misspelt model is an error of vizkit's that repeats it."""
        with pytest.raises(VizkitError, match="no-such-network"):
            vizkit.load("no-such-network", backend=kit.backend)

    @required("Backend.wrap, vizkit.wrap")
    def test_networks_are_known_by_their_framework(self, kit: Kit) -> None:
        """vizkit.wrap finds the backend by the network's classes; the model says what it is, and holds the network."""
        native = kit.sequential([("relu",), ("flatten",), ("dense", 12, 2)])
        model = wrap(native, 2)
        assert contract.owner(native).name == model.backend == kit.backend
        assert model.native is native
        assert model.device == model.ops.device
        assert model.dtype == model.ops.dtype == kit.dtype
        assert model.versions
        assert model.name
        with pytest.raises(SettingError):
            vizkit.wrap(native, input_size=2, mean=(0.5,) * 3, std=(0.25,) * 3, dtype="float12")

    @optional("Call")
    def test_a_function_of_the_result(self, kit: Kit) -> None:
        """``output`` may be a function of what the network returns, and says what counts."""
        native, spec = kit.sequential([("relu",), ("flatten",), ("dense", 12, 2)]), case([], 2).spec
        picked = kit.framework().wrap(native, spec, None, None, Call(output=lambda result: result * 2.0))
        whole = kit.framework().wrap(native, spec, None)
        x = whole.ops.asarray(np.random.default_rng(0).normal(size=(2, 3, 2, 2)))
        expected = whole.ops.numpy(whole.forward(x)[OUTPUT]) * 2
        np.testing.assert_allclose(picked.ops.numpy(picked.forward(x)[OUTPUT]), expected, rtol=1e-6)

    @optional("Backend.probe")
    def test_the_doctor_finds_nothing_wrong(self, kit: Kit) -> None:
        """Every case of the doctor's can be built, in the dtype that is asked for, also without a parameter that says
        so, and vizkit's own way is right in it, against float64."""
        for layers in ([("pool",)], [("conv", 3, 2, 3, 1)]):
            model = kit.framework().probe(case(layers), "cpu", kit.dtype).model
            assert (model.dtype, model.ops.dtype) == (kit.dtype, kit.dtype), f"the dtype of a probe of {layers}"
        found = examine(kit.framework(), "cpu", kit.dtype)
        wrong = [f"{one.layer}: {one.error or one.verdict}" for one in found.of("vizkit", "wrong")]
        assert found.right, "; ".join(wrong)
        assert not found.of("vizkit", "coarse")
