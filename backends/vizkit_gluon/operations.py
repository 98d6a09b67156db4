"""What an operator of MXNet is in vizkit's words: its kind and its settings."""

from __future__ import annotations

from ast import literal_eval
from math import prod
from typing import Any

CALLED = {
    "conv": ("Convolution",),
    "conv_transpose": ("Deconvolution",),
    "linear": ("FullyConnected",),
    "batch_norm": ("BatchNorm", "_contrib_SyncBatchNorm"),
    "layer_norm": ("LayerNorm",),
    "group_norm": ("GroupNorm",),
    "instance_norm": ("InstanceNorm",),
    "local_response_norm": ("LRN",),
    "dropout": ("Dropout",),
    "concat": ("Concat",),
    "flatten": ("Flatten",),
    "reshape": ("Reshape", "expand_dims", "squeeze"),
    "add": ("elemwise_add", "_Plus", "_plus", "broadcast_add", "_plus_scalar", "_PlusScalar", "add_n"),
    "sub": ("elemwise_sub", "broadcast_sub", "_minus_scalar", "_rminus_scalar"),
    "mul": ("elemwise_mul", "broadcast_mul", "_mul_scalar"),
    "div": ("elemwise_div", "broadcast_div", "_div_scalar"),
    "pow": ("_power_scalar",),
    "neg": ("negative",),
    "maximum": ("_maximum", "broadcast_maximum"),
    "minimum": ("_minimum", "broadcast_minimum"),
    "clip": ("_maximum_scalar", "_minimum_scalar"),
    "hardsigmoid": ("hard_sigmoid",),
    "slice": ("slice_axis",),
    "split": ("SliceChannel",),
    "pad": ("Pad",),
    "upsample": ("UpSampling",),
    "matmul": ("batch_dot", "dot"),
    "identity": ("BlockGrad", "_copy"),
    "transpose": ("SwapAxis",),
}
"""MXNet's names of what vizkit calls by another."""
KINDS = {name: kind for kind, names in CALLED.items() for name in names}
UNCOUNTED = ("RNN", "_contrib_DeformableConvolution", "_contrib_ModulatedDeformableConvolution")
"""Operators of which nobody counts the multiply-adds."""
LEAKY = {"leaky": "leaky_relu", "rrelu": "leaky_relu"}


def rectifier(op: str, attrs: dict[str, str]) -> str:
    """ "relu" of an operator that is max(0, x), "relu6" of one with an upper bound, else ""."""
    if op == "relu" or (op == "Activation" and attrs.get("act_type") == "relu"):
        return "relu"
    if op == "_maximum_scalar" and float(attrs["scalar"]) == 0.0:
        return "relu"
    return "relu6" if op == "clip" and float(attrs["a_min"]) == 0.0 < float(attrs["a_max"]) else ""


def describe(op: str, attrs: dict[str, str], source: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
    """Kind and settings of an operator that reads an array of shape ``source`` first."""
    given = {key: _value(text) for key, text in attrs.items()}
    if op == "Activation":
        return str(given["act_type"]).replace("softrelu", "softplus"), {}
    if op == "LeakyReLU":
        kind = str(given.get("act_type", "leaky"))
        return LEAKY.get(kind, kind), {}
    if op == "Pooling" and given.get("pool_type", "max") in ("max", "avg"):
        return f"{given.get('pool_type', 'max')}_pool", _pool(given, source)
    kind = rectifier(op, attrs) or KINDS.get(op, op)
    if kind in ("conv", "conv_transpose") and len(source) == 4:
        last = {"channels": -1} if str(given.get("layout")).endswith("C") else {}
        return kind, last | {
            "kernel": tuple(given["kernel"]),
            "stride": tuple(given.get("stride") or (1, 1)),
            "padding": tuple(given.get("pad") or (0, 0)),
            "dilation": tuple(given.get("dilate") or (1, 1)),
            "groups": given.get("num_group", 1),
        }
    return kind, _other(kind, given, len(source))


def products(
    op: str, attrs: dict[str, str], inputs: list[tuple[int, ...]], shape: tuple[int, ...]
) -> dict[str, int | None]:
    """The multiply-adds of what is no plain convolution or dense layer; nothing of what has none."""
    if op in UNCOUNTED or "interleaved_matmul" in op:
        return {"products": None}
    if op in ("Convolution", "Deconvolution") and len(shape) != 4:
        return {"products": prod(shape if op == "Convolution" else inputs[0]) * prod(inputs[1][1:])}
    if op in ("batch_dot", "dot", "_linalg_gemm2", "_linalg_gemm"):
        turned = attrs.get("transpose_a") in ("True", "1")
        axis = (0 if op == "dot" else -2) if turned else -1
        return {"products": prod(shape) * inputs[0][axis]}
    return {}


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
    if kind in ("softmax", "log_softmax", "layer_norm"):
        return {"axes": ((-1 if axes is None else int(axes)) % rank,)}
    if kind in ("mean", "sum") and axes not in (None, ()):
        return {"axes": tuple(axis % rank for axis in (axes if isinstance(axes, tuple) else (axes,)))}
    if kind == "pad":
        _, _, _, _, top, _, left, _ = given["pad_width"]
        return {"padding": (top, left)}
    if kind == "transpose" and "dim1" in given:
        order = list(range(rank))
        first, second = given["dim1"], given["dim2"]
        order[first], order[second] = order[second], order[first]
        return {"axes": tuple(order)}
    if kind == "transpose":
        return {"axes": tuple(axes) if axes else tuple(reversed(range(rank)))}
    if kind == "matmul":
        turned = bool(given.get("transpose_a")), bool(given.get("transpose_b"))
        return {"turned": turned} if any(turned) else {}
    return {"channels": -1} if kind == "RNN" else {}
