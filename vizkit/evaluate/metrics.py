"""The metrics by name, in one form, for tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract.backend import Array, Model
from ..inputs.images import Batch
from ..inputs.targets import Wanted
from . import faithfulness, fidelity, flipping, imputation, localisation, randomisation, robustness
from ._maps import Method
from .complexity import complexity, sparseness


@dataclass(frozen=True)
class Case:
    """What a table is about: images, the classes explained, and the objects' masks (N, H, W) where there are some."""

    model: Model
    batch: Batch
    wanted: Sequence[Wanted]
    masks: Array | None
    seed: int
    batch_size: int | None

    @property
    def arguments(self) -> dict[str, Any]:
        """What every metric that asks the network takes."""
        return {"model": self.model, "image": self.batch, "target": list(self.wanted), "batch_size": self.batch_size}


@dataclass(frozen=True)
class Metric:
    """``compute(case, maps, method, options)`` gives one figure for each image, (N,). ``higher`` is better, or lower;
    ``judges`` is False for what describes a map and does not count in a ranking; ``default`` for the usual table."""

    compute: Callable[[Case, Array, Method, Mapping[str, Any]], Array]
    higher: bool
    judges: bool = True
    default: bool = True
    masks: bool = False


def _on_masks(function: Callable[..., Array]) -> Metric:
    return Metric(lambda case, maps, method, options: function(maps, case.masks, **options), True, masks=True)


def _on_maps(function: Callable[..., Array], higher: bool) -> Metric:
    return Metric(lambda case, maps, method, options: function(maps, **options), higher, judges=False)


def _on_model(function: Callable[..., Any], higher: bool, *, seeded: bool = True, default: bool = True) -> Metric:
    def compute(case: Case, maps: Array, method: Method, options: Mapping[str, Any]) -> Array:
        given = ({"seed": case.seed} if seeded else {}) | dict(options)
        found = function(maps=maps, **case.arguments, **given)
        return np.asarray(found.auc if isinstance(found, faithfulness.Curves) else found)

    return Metric(compute, higher, default=default)


def _on_method(function: Callable[..., Any]) -> Metric:
    def compute(case: Case, maps: Array, method: Method, options: Mapping[str, Any]) -> Array:
        found = function(method=method, **case.arguments, **{"seed": case.seed, **options})
        return np.asarray(found.similarity.mean(axis=0) if isinstance(found, randomisation.Randomisation) else found)

    return Metric(compute, higher=False, default=False)


METRICS: dict[str, Metric] = {
    "pointing_game": _on_masks(localisation.pointing_game),
    "relevance_mass": _on_masks(localisation.relevance_mass),
    "relevance_rank": _on_masks(localisation.relevance_rank),
    "deletion": _on_model(faithfulness.deletion, higher=False),
    "insertion": _on_model(faithfulness.insertion, higher=True),
    "road": _on_model(imputation.road, higher=False, default=False),
    "pixel_flipping": _on_model(flipping.pixel_flipping, higher=False, default=False),
    "selectivity": _on_model(flipping.selectivity, higher=False, default=False),
    "average_drop": _on_model(faithfulness.average_drop, higher=False, seeded=False),
    "increase_in_confidence": _on_model(faithfulness.increase_in_confidence, higher=True, seeded=False),
    "faithfulness_correlation": _on_model(fidelity.faithfulness_correlation, higher=True),
    "infidelity": _on_model(fidelity.infidelity, higher=False, default=False),
    "max_sensitivity": _on_method(robustness.max_sensitivity),
    "parameter_randomisation": _on_method(randomisation.parameter_randomisation),
    "random_logit": _on_method(randomisation.random_logit),
    "sparseness": _on_maps(sparseness, higher=True),
    "complexity": _on_maps(complexity, higher=False),
}
"""All metrics. ``road`` is the one of most relevant pixels first, ``parameter_randomisation`` the mean over layers."""
