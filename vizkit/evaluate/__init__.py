"""How good is a map? Metrics, sanity checks, and tables with the controls that make them honest.

Metrics take maps as plain arrays (N, H, W), so that anybody's can be judged, and give one figure for each image.
"""

from .complexity import complexity, sparseness
from .faithfulness import Curves, average_drop, deletion, increase_in_confidence, insertion
from .fidelity import faithfulness_correlation, infidelity
from .flipping import pixel_flipping, selectivity
from .imputation import impute, road
from .localisation import pointing_game, relevance_mass, relevance_rank
from .metrics import METRICS
from .randomisation import Randomisation, parameter_randomisation, random_logit
from .ranking import Ranking, rank
from .robustness import max_sensitivity

__all__ = [
    "METRICS",
    "Curves",
    "Randomisation",
    "Ranking",
    "average_drop",
    "complexity",
    "deletion",
    "faithfulness_correlation",
    "impute",
    "increase_in_confidence",
    "infidelity",
    "insertion",
    "max_sensitivity",
    "parameter_randomisation",
    "pixel_flipping",
    "pointing_game",
    "random_logit",
    "rank",
    "relevance_mass",
    "relevance_rank",
    "road",
    "selectivity",
    "sparseness",
]
