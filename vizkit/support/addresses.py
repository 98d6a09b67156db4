"""Public modules keep their addresses, ``vizkit.targets``, whichever floor they live on."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ADDRESSES: Mapping[str, str] = {
    "api": "zoo.loading",
    "backend": "contract.backend",
    "compare": "reports.compare",
    "demo": "reports.demo",
    "doctor": "reports.doctor",
    "doctor.cases": "contract.probes",
    "embedding": "reports.embedding",
    "errors": "contract.errors",
    "explain": "reports.explain",
    "folders": "inputs.folders",
    "folders.listing": "inputs.listing",
    "gallery": "reports.gallery",
    "grid": "contract.grid",
    "homework": "reports.homework",
    "images": "inputs.images",
    "model": "contract.model",
    "network": "draw.network",
    "network.graph": "contract.graph",
    "network.receptive": "techniques.network.receptive",
    "network.table": "techniques.network.table",
    "objectives": "techniques.dreams.objectives",
    "ops": "contract.ops",
    "overlay": "draw.overlay",
    "page": "reports.page",
    "parametrisations": "techniques.dreams.parametrisations",
    "plotting": "draw",
    "progress": "support.progress",
    "references": "inputs.references",
    "sources": "inputs.sources",
    "rules": "techniques.relevance.rules",
    "regularisers": "techniques.dreams.regularisers",
    "targets": "inputs.targets",
    "transforms": "techniques.dreams.transforms",
    "unit": "reports.unit",
    "zoo.spec": "contract.spec",
}
"""What lives elsewhere, below ``vizkit.``; what lies within a package moves with it."""


class Addresses(MetaPathFinder, Loader):
    """Gives the module itself, never a second copy, to whoever imports it by its public address."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module of :data:`ADDRESSES`, or within one of its packages."""
        return None if _lives_at(name) is None else ModuleSpec(name, self)

    def exec_module(self, module: ModuleType) -> None:
        """Put the module that is meant in the place of the empty one."""
        found = _lives_at(module.__name__)
        assert found is not None
        sys.modules[module.__name__] = import_module(found)


def _lives_at(name: str) -> str | None:
    package, _, rest = name.partition(".")
    if package != "vizkit":
        return None
    parts = rest.split(".")
    for k in range(len(parts), 0, -1):
        if (found := ADDRESSES.get(".".join(parts[:k]))) is not None:
            return ".".join([package, found, *parts[k:]])
    return None


def keep(functions: Sequence[str] = ("compare", "doctor", "explain")) -> None:
    """Find modules by their public addresses from now on.

    ``functions`` share their name with the module that they were imported from: that stays behind them.
    """
    sys.meta_path.insert(0, Addresses())
    for name in functions:
        sys.modules[f"vizkit.{name}"] = sys.modules[f"vizkit.{ADDRESSES[name]}"]
