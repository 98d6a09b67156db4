"""What workers do for several tests, with some of their networks. They import this file alone."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from collections.abc import Sequence
from typing import Any

from vizkit.support.crew.sending import DIGEST


def of_some(models: Sequence[Any], task: Any, *, function: Any, which: Sequence[int]) -> Any:
    """The function with those of a worker's networks that it is about."""
    return function([models[k] for k in which], task)


def of_its_own(models: Sequence[Any], task: tuple[bytes, Any]) -> tuple[Any, bool]:
    """Logits of a network that is sent as those of a crew are, and whether starting frameworks has left scikit-learn
    and SciPy's statistics alone: neither imported, nor as if they were not there."""
    networks, picture = task
    (sent,) = pickle.loads(networks[DIGEST:])
    logits = sent.build(None).logits(picture)
    left = [one not in sys.modules and importlib.util.find_spec(one) is not None for one in ("sklearn", "scipy.stats")]
    return logits, all(left)
