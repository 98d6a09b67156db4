"""What techniques return: values, how they were made, and their files. Pictures of them are drawn by vizkit.draw."""

from ..support.command import COMMAND
from .attribution import Attribution
from .base import Result
from .concepts import ActivationAtlas, Caricature, ConceptBank, ConceptMaps, SpriteMap, Tcav
from .dreams import DeepDream, Dream, Evidence, Inversion, Rendering, Stage
from .explanation import Explanation
from .factorization import Factorization
from .features import ActivationStatistics, FeatureMaps, Filters, TopUnits
from .fields import Field, ReceptiveFields
from .files import FIGURE_SUFFIXES, PROVENANCE, provenance, read_provenance, save_figure
from .folders import Embedding, TopPatches
from .health import Health, LayerHealth
from .overlay import Overlay

__all__ = [
    "COMMAND",
    "FIGURE_SUFFIXES",
    "PROVENANCE",
    "ActivationAtlas",
    "ActivationStatistics",
    "Attribution",
    "Caricature",
    "ConceptBank",
    "ConceptMaps",
    "DeepDream",
    "Dream",
    "Embedding",
    "Evidence",
    "Explanation",
    "Factorization",
    "FeatureMaps",
    "Field",
    "Filters",
    "Health",
    "Inversion",
    "LayerHealth",
    "Overlay",
    "ReceptiveFields",
    "Rendering",
    "Result",
    "SpriteMap",
    "Stage",
    "Tcav",
    "TopPatches",
    "TopUnits",
    "provenance",
    "read_provenance",
    "save_figure",
]
