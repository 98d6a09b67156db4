"""Which methods do not ask what is explained."""

from __future__ import annotations

from ..controls import CONTROLS

CLASS_BLIND = frozenset((*CONTROLS, "attention", "attention_rollout", "eigencam", "fem", "kpca_cam"))
"""Methods whose map is the same for every target, which is only noted."""
