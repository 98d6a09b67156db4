"""The contract as a test suite, for whoever writes a backend; it needs pytest, ``pip install 'vizkit[testing]'``.

A test file of a backend builds the suite's small networks in its framework and takes over the tests:

    import pytest
    from vizkit.testing import ContractTests, Kit

    class MyKit(Kit):
        backend = "mine"

        def build(self, parts, dtype): ...

        def snapshot(self, native): ...

    @pytest.fixture
    def kit():
        return MyKit()

    class TestContract(ContractTests):
        pass

Each test is one requirement. One that fails says what was required and where the contract says so; one about a part
that the contract leaves open, and that the backend goes without, is skipped with the reason.
"""

from __future__ import annotations

from .assertions import optional, required
from .kit import TRAPS, TRAPS_SIZE, Kit, case, parameters
from .of_backends import BackendTests
from .of_models import ModelTests
from .of_ops import OpsTests
from .of_options import OptionTests
from .of_passes import PassTests
from .of_rules import RuleTests

__all__ = [
    "TRAPS",
    "TRAPS_SIZE",
    "BackendTests",
    "ContractTests",
    "Kit",
    "ModelTests",
    "OpsTests",
    "OptionTests",
    "PassTests",
    "RuleTests",
    "case",
    "optional",
    "parameters",
    "required",
]


class ContractTests(BackendTests, ModelTests, OpsTests, OptionTests, PassTests, RuleTests):
    """Every requirement of the contract: to be extended by a class of the backend's tests, beside which there is a
    fixture ``kit`` that returns its :class:`Kit`."""
