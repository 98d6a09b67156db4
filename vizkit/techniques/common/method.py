"""What every file of a method that gives maps is written with: the network, its inputs, the job, and the result."""

from ...contract.backend import Array, Leaves, Model, Ops, Tensor
from ...contract.errors import SettingError, one_of
from ...inputs.images import ImageInput
from ...inputs.targets import Neuron, Target
from ...results.attribution import Attribution
from .checks import pictures_only
from .job import Job, held
from .probe import Probe

__all__ = [
    "Array", "Attribution", "ImageInput", "Job", "Leaves", "Model", "Neuron", "Ops", "Probe", "SettingError", "Target",
    "Tensor", "held", "one_of", "pictures_only",
]  # fmt: skip
