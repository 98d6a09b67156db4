"""Figures of results; only here is Matplotlib imported. Every function takes a list of results of one kind, one for
each backend or model, and draws them in one figure; nothing is registered with pyplot."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from ..evaluate.ranking import Ranking
from ..results.attribution import Attribution
from ..results.base import Result
from ..results.concepts import ActivationAtlas, Caricature, ConceptBank, ConceptMaps, SpriteMap, Tcav
from ..results.dreams import DeepDream, Dream, Inversion, Rendering
from ..results.explanation import Explanation
from ..results.factorization import Factorization
from ..results.features import ActivationStatistics, FeatureMaps, Filters, TopUnits
from ..results.fields import ReceptiveFields
from ..results.folders import Embedding, TopPatches
from ..results.health import Health
from .base import GRAY, contact_sheet, new, panel, tile
from .concepts import activation_atlas, caricature, concept_bank, concept_maps, factorization, spritemap, tcav
from .dreams import deepdream, dream, inversion, rendering
from .explanation import explanation
from .layers import activation_statistics, feature_maps, filters, health, top_patches, top_units
from .maps import attributions, maps, ranking
from .overlay import overlay
from .receptive import receptive_fields
from .scatter import embedding

FIGURES: Mapping[type[Result], Callable[[Any], Figure]] = {
    ActivationAtlas: activation_atlas,
    ActivationStatistics: activation_statistics,
    Attribution: maps,
    Caricature: caricature,
    ConceptBank: concept_bank,
    ConceptMaps: concept_maps,
    DeepDream: deepdream,
    Dream: dream,
    Embedding: embedding,
    Explanation: explanation,
    Factorization: factorization,
    FeatureMaps: feature_maps,
    Filters: filters,
    Health: health,
    Inversion: inversion,
    Ranking: ranking,
    ReceptiveFields: receptive_fields,
    Rendering: rendering,
    SpriteMap: spritemap,
    Tcav: tcav,
    TopPatches: top_patches,
    TopUnits: top_units,
}
"""What draws each kind of result."""


def figure(results: Sequence[Result]) -> Figure:
    """Results of one kind in one figure. Raises TypeError for a kind that has no picture."""
    for kind in type(results[0]).__mro__:
        if kind in FIGURES:
            return FIGURES[kind](results)
    raise TypeError(f"{type(results[0]).__name__} has no picture of its own.")


__all__ = [
    "FIGURES",
    "GRAY",
    "activation_statistics",
    "attributions",
    "contact_sheet",
    "deepdream",
    "dream",
    "embedding",
    "feature_maps",
    "figure",
    "filters",
    "health",
    "inversion",
    "new",
    "overlay",
    "panel",
    "receptive_fields",
    "rendering",
    "tile",
]
