"""Attention maps of one layer."""

from __future__ import annotations

from ..common.method import Attribution, ImageInput, Job, Model, SettingError, Target, held
from ..common.passes import as_they_are
from .matrices import FLAT_ATTENTION, choose_attention, finished, needs_attention, seen

RAW = "attention"


@needs_attention
@held
def attention(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    head: int | None = None,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Attention of a transformer's layer (Vaswani et al. 2017, arXiv 1706.03762; of pictures, Dosovitskiy et al. 2020,
    arXiv 2010.11929): where its class token looks.

    ``A = softmax(Q K^T / sqrt(d))``, (heads, T, T): how much token ``i`` takes from token ``j``. The map is the class
    token's row over the picture's tokens, ``up(A[head, 0, aside:])``, ``up`` bilinear with half-pixel centres; where no
    token is set aside, the mean of all rows. The class token is the first; behind it a distillation token or registers
    may be set aside, too. It is the same for every ``target``, which is only noted in the result: what is looked at
    need not speak for the class.

    Args: ``model``, ``image``, ``target``, ``batch_size``, ``input_range``, ``fit`` as :func:`vizkit.saliency` has
        them, and layer: one of ``model.attention``; None takes the last. ``Attribution.layer`` says which.
        head: one head's, counted from 0; None takes the mean of all.

    Returns:
        :class:`Attribution` (N, H, W), in 0..1, in the model's dtype; ``extra["cam"]`` (N, h, w) at the tokens'
        resolution, ``extra["heads"]`` (N, heads, h, w) of each head, ``extra["attention"]`` (N, heads, T, T), A itself.

    Raises:
        ImageError, UnknownNameError (label or layer), SettingError for a head that does not exist, and LayerError where
        the network or the layer has no attention, or none over the whole picture, such as Swin's within windows.
        Warns with MapWarning of a map that is the same everywhere.

    Believe:
        Believe it as where one layer looks; what is looked at need not speak for the class.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("vit_b_16", weights="random:7")                          # doctest: +SKIP
        >>> vizkit.attention(model, "photo.jpg", head=3).layer                            # doctest: +SKIP
        'encoder.layers.encoder_layer_11.self_attention:attention'
    """
    job = Job("attention", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size, head=head)
    name, grid = choose_attention(model, layer)
    count = model.layer(name).shape[1]
    if head is not None and not 0 <= head < count:
        raise SettingError(f"head={head}: layer {name!r} of {model.name} has {count} heads; take 0 to {count - 1}.")
    raw = job.inferences(as_they_are, (name,))[name]
    heads = seen(raw, grid)
    cam = heads.mean(axis=1) if head is None else heads[:, head]
    return finished(job, cam, grid, {"heads": heads, RAW: raw}, layers=(name,), layer=name, cause=FLAT_ATTENTION)
