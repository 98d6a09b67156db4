"""What a call of a PyTorch function is in vizkit's words: its kind and its settings."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F

ASKING = ("__get__", "dim", "ndimension", "size", "numel", "stride", "is_contiguous", "is_floating_point", "__len__")
"""Calls that ask a tensor for its form and do not read its values."""
RELUS = {F.relu, F.relu_, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_}
RELUS |= {torch.ops.aten.relu.default, torch.ops.aten.relu_.default}  # as exported networks call it
BOUNDED = dict.fromkeys(("clamp", "clip", "clamp_min"), ("min", "max")) | {"hardtanh": ("min_val", "max_val")}
BOUNDED |= {"threshold": ("threshold", "value")}
"""What can be a ReLU, and the names of its bounds."""
ARGUMENTS = {
    "conv": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv_transpose": ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    "max_pool": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "avg_pool": ("input", "kernel_size", "stride", "padding", "ceil_mode"),
    "pad": ("input", "pad", "mode", "value"),
    "flatten": ("input", "start_dim", "end_dim"),
    "softmax": ("input", "dim"),
    "log_softmax": ("input", "dim"),
    "mean": ("input", "dim", "keepdim"),
    "sum": ("input", "dim", "keepdim"),
    "layer_norm": ("input", "normalized_shape"),
    "multi_head_attention_forward": (
        *("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias"),
        *("bias_k", "bias_v", "add_zero_attn"),
    ),
}
"""The names of positional arguments, where vizkit reads them."""
CALLED = {
    **{
        kind: tuple(f"{name}{axes}d{end}" for axes in (1, 2, 3) for end in ends)
        for kind, name, ends in (
            ("conv", "conv", ("",)),
            ("conv_transpose", "conv_transpose", ("",)),
            ("max_pool", "max_pool", ("", "_with_indices")),
            ("avg_pool", "avg_pool", ("",)),
            ("adaptive avg_pool", "adaptive_avg_pool", ("",)),
            ("adaptive max_pool", "adaptive_max_pool", ("", "_with_indices")),
        )
    },
    "concat": ("cat", "concatenate"),
    "add": ("iadd", "radd"),
    "sub": ("isub", "rsub", "subtract"),
    "mul": ("imul", "rmul", "multiply"),
    "div": ("truediv", "itruediv", "divide"),
    "slice": ("getitem", "narrow"),
    "split": ("chunk",),
    "reshape": ("view", "unsqueeze", "squeeze", "unflatten", "view_as", "reshape_as"),
    "upsample": ("interpolate",),
    "identity": ("clone", "contiguous", "detach", "to", "data"),
    "clip": ("clamp",),
    "dropout": ("feature_dropout", "dropout2d"),
    "matmul": ("bmm",),
    "transpose": ("permute", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "T", "mT", "H", "mH"),
}
"""PyTorch's names of what vizkit calls by another."""
KINDS = {name: kind for kind, names in CALLED.items() for name in names}
RECURRENT = ("gru", "lstm", "rnn_tanh", "rnn_relu", "gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell")
ATTENTION = ("scaled_dot_product_attention", "multi_head_attention_forward")
QUERIED = ("matmul", "mm", *ATTENTION)
"""Whose first tensor says what the rows are."""
FREE = ("einsum", "tensordot", "bilinear")
"""Products whose terms and axes are the caller's own."""
UNCOUNTED = (*RECURRENT, *FREE, "convolution", "deform_conv2d", "native_multi_head_attention", "cdist")
"""Of which nobody counts the multiply-adds."""
FACTORS = dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot"), 0)
FACTORS |= dict.fromkeys(("addmm", "baddbmm", "addmv", "addbmm"), 1)
"""Products of matrices by name, and which of their tensors the first factor is."""


def kind_of(func: Any) -> str:
    """The kind of a function, as far as its name tells."""
    name = _name(func).partition(".")[0]  # exported networks call "linear.default"
    return KINDS.get(name, name).removeprefix("adaptive ")


def values_read(func: Any) -> int | None:
    """How many tensors give their values to a call that reads the shape alone of the others; None for all. What is made
    like a tensor counts as made of it, since parts of the picture may be written into it."""
    return 1 if _name(func) in ("expand_as", "view_as", "reshape_as", "type_as") else None


def rectifier(func: Any, args: Any, kwargs: Any) -> str:
    """By whatever name it is called: "relu" of max(0, x), "relu6" of one with an upper bound, else ""."""
    if func in RELUS:
        return "relu"
    name = _name(func).partition(".")[0]
    if name == "relu6":
        return name
    if name not in BOUNDED:
        return ""
    given = dict(zip(("input", *BOUNDED[name]), args, strict=False)) | kwargs
    lower, upper = (given.get(bound) for bound in BOUNDED[name])
    if not (isinstance(lower, int | float) and lower == 0):
        return ""
    if name == "threshold":
        return "relu" if upper == 0 else ""
    return "relu" if upper is None else "relu6" if isinstance(upper, int | float) and upper > 0 else ""


def _name(func: Any) -> str:
    name = str(getattr(func, "__name__", type(func).__name__))
    return str(func.__self__.__name__) if name == "__get__" else name.strip("_")


def describe(
    func: Any, args: Any, kwargs: Any, shapes: list[tuple[int, ...]], shape: tuple[int, ...]
) -> tuple[str, dict[str, Any]]:
    """Kind and settings of ``func(*args, **kwargs)`` on tensors of ``shapes``, with a result of ``shape``."""
    name = _name(func).partition(".")[0]  # exported networks call "linear.default"
    kind = rectifier(func, args, kwargs) or KINDS.get(name, name)
    adaptive = kind.startswith("adaptive ")
    kind = kind.removeprefix("adaptive ")
    given = dict(zip(ARGUMENTS.get(kind, ("input",)), args, strict=False)) | kwargs
    if adaptive and len(shape) == 4:
        return kind, _adaptive(shapes[0], shape)
    if kind == "transpose":
        return kind, {"axes": _order(func, args, kwargs, len(shapes[0]))}
    if kind == "reshape" and len(shape) == 2 and len(shapes[0]) > 2:
        kind = "flatten"
    if kind in ("conv", "conv_transpose", "max_pool", "avg_pool") and len(shape) == 4:
        return kind, _window(kind, given, shapes)
    return kind, _other(kind, name, given, shapes) | _products(name, given, shapes, shape)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    first, *rest = (int(one) for one in value)
    return first, rest[0] if rest else first


def _window(kind: str, given: dict[str, Any], shapes: list[tuple[int, ...]]) -> dict[str, Any]:
    pool = kind in ("max_pool", "avg_pool")
    kernel = _pair(given["kernel_size"]) if pool else (shapes[1][2], shapes[1][3])
    dilation = _pair(given.get("dilation", 1))
    stride = given.get("stride")
    padding = given.get("padding", 0)
    if padding == "same":
        before = ((kernel[0] - 1) * dilation[0] // 2, (kernel[1] - 1) * dilation[1] // 2)
    else:
        before = _pair(0 if padding == "valid" else padding)
    settings: dict[str, Any] = {
        "kernel": kernel,
        "stride": (kernel if pool else (1, 1)) if stride is None or stride == [] else _pair(stride),
        "padding": before,
    }
    if kind != "avg_pool":
        settings["dilation"] = dilation
    return settings | (
        {"ceil_mode": bool(given.get("ceil_mode", False))} if pool else {"groups": given.get("groups", 1)}
    )


def _adaptive(source: tuple[int, ...], shape: tuple[int, ...]) -> dict[str, Any]:
    """An adaptive pool as the plain one that it is for this size; without a kernel where its windows differ."""
    (height, width), (down, right) = source[-2:], shape[-2:]
    if height % down or width % right:
        return {"adaptive": True}
    kernel = (height // down, width // right)
    return {"kernel": kernel, "stride": kernel, "padding": (0, 0), "ceil_mode": False}


def _other(kind: str, name: str, given: dict[str, Any], shapes: list[tuple[int, ...]]) -> dict[str, Any]:
    rank = len(shapes[0]) if shapes else 0
    if kind in ("softmax", "log_softmax", "mean", "sum") and given.get("dim") is not None:
        axes = given["dim"]
        return {"axes": tuple(axis % rank for axis in (axes if isinstance(axes, tuple | list) else (axes,)))}
    if kind == "layer_norm":
        return {"axes": tuple(range(rank - len(given["normalized_shape"]), rank))}
    if kind == "pad":
        widths = (*(int(width) for width in given["pad"]), 0, 0)
        return {"padding": (widths[2], widths[0])}
    if name in FREE:
        return {"channels": None}
    return {"channels": -1} if name in (*RECURRENT, *ATTENTION) else {}


def _products(
    name: str, given: dict[str, Any], shapes: list[tuple[int, ...]], shape: tuple[int, ...]
) -> dict[str, int | None]:
    """The multiply-adds of what is no plain convolution or dense layer; nothing of what has none."""
    if name in UNCOUNTED:
        return {"products": None}
    if name in ("conv1d", "conv2d", "conv3d"):
        return {"products": prod(shape) * prod(shapes[1][1:])}
    if name in ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"):
        return {"products": prod(shapes[0]) * prod(shapes[1][1:])}
    if name in FACTORS:
        first = shapes[FACTORS[name]]
        return {"products": prod(shape) * first[-1] * (first[0] if name == "addbmm" else 1)}
    if name == "scaled_dot_product_attention":
        query, key, value = shapes[:3]
        return {"products": prod(query[:-1]) * key[-2] * (query[-1] + value[-1])}
    if name == "multi_head_attention_forward":
        (places, count, width), key, value = shapes[:3]
        if given.get("bias_k") is not None or given.get("add_zero_attn"):
            return {"products": None}
        projected = 2 * places * width + key[0] * (key[-1] + value[-1])
        return {"products": count * width * (projected + 2 * places * key[0])}
    return {}


def _order(func: Any, args: Any, kwargs: dict[str, Any], rank: int) -> tuple[int, ...]:
    """The new order of the axes, seen at sides that differ."""
    marked = torch.empty(*range(2, 2 + rank), device="meta")
    given = {key: marked if isinstance(one, torch.Tensor) else one for key, one in kwargs.items()}
    turned = func(*(marked if isinstance(one, torch.Tensor) else one for one in args), **given)
    return tuple(side - 2 for side in turned.shape)
