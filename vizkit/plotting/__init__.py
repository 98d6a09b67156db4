"""Figures of results. Every function takes a list of results of one kind, one for each backend or model, and draws
them in one figure; nothing is registered with pyplot."""

from .base import GRAY, columns_for, contact_sheet, new, origin, panel, tile
from .dreams import deepdream, dream, inversion, rendering
from .embedding import embedding
from .explanation import explanation
from .layers import MARKS, activation_statistics, feature_maps, filters, health
from .maps import attributions, curves, slices

__all__ = [
    "GRAY",
    "MARKS",
    "activation_statistics",
    "attributions",
    "columns_for",
    "contact_sheet",
    "curves",
    "deepdream",
    "dream",
    "embedding",
    "explanation",
    "feature_maps",
    "filters",
    "health",
    "inversion",
    "new",
    "origin",
    "panel",
    "rendering",
    "slices",
    "tile",
]
