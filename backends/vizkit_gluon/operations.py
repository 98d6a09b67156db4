"""What an operator of MXNet is in vizkit's words: its kind and its settings."""

from __future__ import annotations

from ast import literal_eval
from typing import Any

KINDS = {
    "Convolution": "conv",
    "Deconvolution": "conv_transpose",
    "FullyConnected": "linear",
    "BatchNorm": "batch_norm",
    "_contrib_SyncBatchNorm": "batch_norm",
    "LayerNorm": "layer_norm",
    "GroupNorm": "group_norm",
    "InstanceNorm": "instance_norm",
    "LRN": "local_response_norm",
    "Dropout": "dropout",
    "Concat": "concat",
    "Flatten": "flatten",
    "Reshape": "reshape",
    "expand_dims": "reshape",
    "squeeze": "reshape",
    "elemwise_add": "add",
    "_Plus": "add",
    "_plus": "add",
    "broadcast_add": "add",
    "_plus_scalar": "add",
    "_PlusScalar": "add",
    "elemwise_sub": "sub",
    "broadcast_sub": "sub",
    "_minus_scalar": "sub",
    "_rminus_scalar": "sub",
    "elemwise_mul": "mul",
    "broadcast_mul": "mul",
    "_mul_scalar": "mul",
    "elemwise_div": "div",
    "broadcast_div": "div",
    "_div_scalar": "div",
    "slice_axis": "slice",
    "SliceChannel": "split",
    "Pad": "pad",
    "UpSampling": "upsample",
    "batch_dot": "matmul",
    "dot": "matmul",
    "BlockGrad": "identity",
    "_copy": "identity",
}
LEAKY = {"leaky": "leaky_relu", "rrelu": "leaky_relu"}


def describe(op: str, attrs: dict[str, str], source: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
    """Kind and settings of an operator that reads an array of shape ``source`` first."""
    given = {key: _value(text) for key, text in attrs.items()}
    if op == "Activation":
        return str(given["act_type"]), {}
    if op == "LeakyReLU":
        kind = str(given.get("act_type", "leaky"))
        return LEAKY.get(kind, kind), {}
    if op == "Pooling" and given.get("pool_type", "max") in ("max", "avg"):
        return f"{given.get('pool_type', 'max')}_pool", _pool(given, source)
    kind = KINDS.get(op, op)
    if kind in ("conv", "conv_transpose") and len(source) == 4:
        return kind, {
            "kernel": tuple(given["kernel"]),
            "stride": tuple(given.get("stride") or (1, 1)),
            "padding": tuple(given.get("pad") or (0, 0)),
            "dilation": tuple(given.get("dilate") or (1, 1)),
            "groups": given.get("num_group", 1),
        }
    return kind, _other(kind, given, len(source))


def _value(text: str) -> Any:
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _pool(given: dict[str, Any], source: tuple[int, ...]) -> dict[str, Any]:
    whole = given.get("global_pool", False)
    kernel = tuple(source[2:]) if whole else tuple(given["kernel"])
    settings: dict[str, Any] = {
        "kernel": kernel,
        "stride": kernel if whole else tuple(given.get("stride") or (1, 1)),
        "padding": (0, 0) if whole else tuple(given.get("pad") or (0, 0)),
        "ceil_mode": given.get("pooling_convention") == "full" and not whole,
    }
    return settings | ({"dilation": (1, 1)} if given.get("pool_type", "max") == "max" else {})


def _other(kind: str, given: dict[str, Any], rank: int) -> dict[str, Any]:
    axes = given.get("axis", given.get("axes"))
    if kind in ("softmax", "log_softmax"):
        return {"axes": ((-1 if axes is None else int(axes)) % rank,)}
    if kind == "layer_norm":
        return {"axes": ((-1 if axes is None else int(axes)) % rank,)}
    if kind in ("mean", "sum") and axes not in (None, ()):
        return {"axes": tuple(axis % rank for axis in (axes if isinstance(axes, tuple) else (axes,)))}
    if kind == "pad":
        _, _, _, _, top, _, left, _ = given["pad_width"]
        return {"padding": (top, left)}
    if kind == "transpose":
        return {"axes": tuple(axes) if axes else tuple(reversed(range(rank)))}
    return {}
