"""``shapes``: pictures with known objects, and the description of the small network that is trained on them.

A picture holds one object (or two) over a cluttered background, and comes with the object's exact mask, so that
a map can be judged and not only looked at. Three kinds of cue are needed to name the object:

* its form: plain ``circle``, ``square``, ``triangle``, ``star``, ``ring`` and ``cross``, in any colour;
* its texture: ``stripes``, ``checkerboard`` and ``dots`` in any two colours, on a disc or on an irregular blob;
* its colour: ``red blob``, ``green blob`` and ``blue blob``, plain and irregular.

No cue is enough alone: a red disc is a circle, a striped disc is stripes, and a striped red blob is stripes.

Example:
    >>> from vizkit.zoo import shapes
    >>> found = shapes.sample(12, seed=7)
    >>> found.images.shape, found.masks.shape, len({*found.labels.tolist()})
    ((12, 96, 96, 3), (12, 96, 96), 12)
"""

from vizkit.zoo.shapes.forms import CLASSES
from vizkit.zoo.shapes.network import (
    BATCH_NORM_EPSILON,
    CLASSIFIER,
    DROPOUT,
    FEATURES,
    INPUT_SIZE,
    MEAN,
    STD,
    Layer,
    layers,
    parameter_shapes,
)
from vizkit.zoo.shapes.sampling import TOLERANCE, Samples, sample

__all__ = [
    "BATCH_NORM_EPSILON",
    "CLASSES",
    "CLASSIFIER",
    "DROPOUT",
    "FEATURES",
    "INPUT_SIZE",
    "MEAN",
    "STD",
    "TOLERANCE",
    "Layer",
    "Samples",
    "layers",
    "parameter_shapes",
    "sample",
]
