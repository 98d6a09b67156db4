"""Gradients with another rule at every ReLU: guided backpropagation and the deconvolutional network."""

from __future__ import annotations

from ..attribution.place import Place
from ..common.job import Job, held, needs_relu
from ..common.method import Attribution, ImageInput, Model, Neuron, Target
from ..common.passes import strongest
from ..common.relu import relu_mode


@needs_relu
@held
def guided_backprop(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    neuron: Neuron | None = None,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Guided backpropagation (Springenberg et al. 2014, arXiv 1412.6806).

    ``M[y, x] = max_c |G[c, y, x]|``, ``G`` the gradient of the target's logit at the input in which every ReLU ``y =
    max(z, 0)`` passes back ``max(dy, 0) * (z > 0)``. All ReLUs follow the rule: modules, in-place, used several times,
    functions; one with an upper bound, as ReLU6, passes back ``max(dy, 0) * (0 < z < bound)``. Other activations pass
    their true gradient. The map hardly depends on the layers near the output (Adebayo et al. 2018, arXiv 1810.03292):
    it shows edges, and is no explanation of the class.

    Args: as :func:`vizkit.saliency` has them, ``neuron`` too; defaults: top-1 target, normalised pixels, centre crop.

    Returns:
        :class:`Attribution` (N, H, W) >= 0; ``extra["attribution"]`` (N, C, H, W) is ``G``, signed.

    Raises:
        ImageError, UnknownNameError (label), SettingError, also for a network without ReLUs, whose map would be that of
        :func:`vizkit.saliency`. Warns with MapWarning of flat or non-finite maps.

    Believe:
        Do not believe it as an explanation of a class: it shows edges, and hardly knows the top layers.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.guided_backprop(model, vizkit.images.sample()).values.shape
        (1, 224, 224)
    """
    job = Job(
        "guided_backprop", model, image, target, neuron=neuron, input_range=input_range, fit=fit, batch_size=batch_size
    )
    return _with_rule(job, "guided")


@needs_relu
@held
def deconvnet(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    neuron: Neuron | None = None,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Deconvolutional network (Zeiler & Fergus 2013, arXiv 1311.2901) for a class score.

    As :func:`vizkit.guided_backprop`, and every ReLU passes back ``max(dy, 0)`` whatever its input was. Max-pools pass
    back to where the maximum was, the paper's switches.

    Args, returns, raises, example: as :func:`vizkit.guided_backprop`.

    Believe:
        Do not believe it as an explanation of a class: it shows structure that ReLUs let back, whatever the class.
    """
    job = Job("deconvnet", model, image, target, neuron=neuron, input_range=input_range, fit=fit, batch_size=batch_size)
    return _with_rule(job, "deconvnet")


def _with_rule(job: Job, rule: str) -> Attribution:
    place, cause = Place(job, None), "at some layer every gradient on the way back is negative, and the rule clips that"
    gradients = place.gradients(mode=relu_mode(rule))
    return place.result(gradients, strongest, cause=f"{cause}; vizkit.saliency does not.")
