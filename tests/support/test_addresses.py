"""Public modules are found at their addresses, each once, wherever they live."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

import vizkit
from vizkit.support.addresses import ADDRESSES


@pytest.mark.quick
@pytest.mark.parametrize("address", sorted(ADDRESSES))
def test_an_address_gives_the_module_itself(address: str) -> None:
    assert import_module(f"vizkit.{address}") is import_module(f"vizkit.{ADDRESSES[address]}")


@pytest.mark.quick
def test_what_lies_within_a_package_is_no_second_copy() -> None:
    from vizkit.folders.loading import Loader
    from vizkit.inputs.folders.loading import Loader as same

    assert Loader is same
    assert sys.modules["vizkit.folders.loading"] is sys.modules["vizkit.inputs.folders.loading"]


@pytest.mark.quick
def test_functions_that_share_a_module_s_name_stay_functions() -> None:
    from vizkit.doctor.cases import Case

    assert Case.__module__ == "vizkit.contract.probes"
    assert all(callable(getattr(vizkit, name)) for name in ("compare", "doctor", "explain"))


@pytest.mark.quick
def test_other_names_are_still_refused() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"vizkit\.nothing"):
        import_module("vizkit.nothing")
    with pytest.raises(ModuleNotFoundError, match=r"targets\.nothing"):
        import_module("vizkit.targets.nothing")
