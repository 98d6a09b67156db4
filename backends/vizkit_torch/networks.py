"""Building, loading and wrapping PyTorch networks."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from vizkit.contract.backend import AS_GIVEN, PLAIN, Call, Weights
from vizkit.contract.errors import DeviceError, SettingError, unknown
from vizkit.contract.spec import InputSpec, make_spec
from vizkit.zoo import store
from vizkit.zoo import weights as zoo
from vizkit.zoo.catalog import CATALOG

from . import timm
from .listing import names
from .model import TorchModel
from .modules import copied, obtain
from .ops import DTYPES, HELD
from .precision import check_dtype
from .shapes import ShapesNet
from .start import torchvision


def check_device(device: str) -> str:
    """The device's full name, e.g. "cuda:0" for "cuda". Raises DeviceError where there is none."""
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise DeviceError(f"device={device!r} is not a device; give 'cpu', 'cuda' or 'cuda:1'.") from None
    if wanted.type == "cpu":
        return "cpu"
    if wanted.type != "cuda":
        raise DeviceError(f"device={device!r}: vizkit knows 'cpu' and 'cuda'.")
    count = torch.cuda.device_count()
    if not torch.cuda.is_available() or (wanted.index or 0) >= count:
        raise DeviceError(
            f"device={device!r}: PyTorch {torch.__version__} sees {count} GPUs on this machine. Use device='cpu', or "
            "install a CUDA build of PyTorch on a machine with a GPU."
        )
    return f"cuda:{wanted.index or 0}"


FILLS = (torch.Tensor.normal_, torch.Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_)


class Unfilled(TorchFunctionMode):
    """Within the block no random number fills a parameter: without values to fill, PyTorch would import its compiler
    for that, which takes as long as importing PyTorch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def build(name: str, found: zoo.Parameters | None = None) -> nn.Module:
    """An untrained network; canonical ones without initial values, since every parameter is about to be given."""
    options: dict[str, Any] = {}
    if name == "googlenet":
        transform = found is not None and found.has("transform_input")
        options = {"aux_logits": False, "init_weights": False, "transform_input": transform}
    if found is not None and found.classes is not None:
        options["num_classes"] = found.classes
    with ExitStack() as blocks:
        if name in CATALOG:
            blocks.enter_context(torch.device("meta"))
            blocks.enter_context(Unfilled())
        if name == "shapes":
            return ShapesNet()
        network: nn.Module = torchvision().models.get_model(name, weights=None, **options)
    if found is not None and found.has("stride_in_1x1"):
        for block in network.modules():
            if isinstance(block, torchvision().models.resnet.Bottleneck):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return network


def load(name: str, weights: str, device: str, dtype: str) -> TorchModel:
    """See :func:`vizkit.load`."""
    if not (name in CATALOG or name.startswith(timm.PREFIX) or name in names()):
        raise unknown("model", name, names(), "`vizkit models` lists all.")
    device = check_device(device)
    check_dtype(device, dtype)
    if name.startswith(timm.PREFIX):
        network, found = timm.build(name, weights)
    elif name in CATALOG:
        found = store.obtain(name, weights, store.torchvision_weights)
        network = build(name, found)
    else:
        network = build(name)
        found = obtain(network, name, weights, dict.fromkeys(("imagenet", "torchvision"), _published))
        if found.classes is not None:
            network = build(name, found)
    held = DTYPES[HELD.get(dtype, dtype)]
    every: Any = network.state_dict()  # with what tells a module's older forms
    for key, value in every.items():
        if key in found.arrays:
            every[key] = torch.from_numpy(found.arrays[key]).to(device, held)
        elif value.is_meta:  # a counter
            every[key] = torch.zeros((), dtype=value.dtype)
    network.load_state_dict(every, assign=True)
    network.to(device=device, dtype=held).eval().requires_grad_(False)
    spec, origin = found.input(name), found.origin
    return TorchModel(network, spec, name=name, weights=origin, device=device, dtype=dtype)


def _published(name: str) -> zoo.Parameters:
    """Weights and input of a torchvision network outside the catalog, as torchvision publishes them."""
    best = next(iter(torchvision().models.get_model_weights(name)))
    told = best.transforms()
    labels = tuple(best.meta["categories"])
    spec = make_spec(told.crop_size[0], tuple(told.mean), tuple(told.std), labels, told.resize_size[0])
    return replace(store.torch_file(name, best.url.rsplit("/", 1)[-1]), spec=spec)


SHELLS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
"""Modules that only run another one, and where they keep it."""
FLOATS = ("FloatFunctional", "FXFloatFunctional")
"""What lies among PyTorch's quantised modules and is not: sums and the like of networks that can be quantised."""


def wrap(native: Any, spec: InputSpec, name: str | None, dtype: str | None = None, call: Call = PLAIN) -> TorchModel:
    """See :func:`vizkit.wrap`. Of a compiled network, or one that is spread over devices, the module inside is taken:
    its layers have the names that the user gave them, and run once."""
    if not isinstance(native, nn.Module):
        raise SettingError(f"vizkit.wrap takes a torch.nn.Module; got {type(native).__name__}.")
    while type(native).__name__ in SHELLS and type(native).__module__.startswith("torch."):
        native = getattr(native, SHELLS[type(native).__name__])
    if any(
        ".quantized." in f"{type(one).__module__}." and type(one).__name__ not in FLOATS for one in native.modules()
    ):
        raise SettingError(
            f"{type(native).__name__} is quantised, and PyTorch differentiates no quantised layer. Wrap the network "
            "that it was made from."
        )
    first = next(native.parameters(), None)
    if first is None:
        raise SettingError(f"{type(native).__name__} has no parameters, so nothing says on which device it computes.")
    if any(map(is_lazy, (*native.parameters(), *native.buffers()))):
        raise SettingError(
            f"{type(native).__name__} has lazy layers, whose parameters are made in the first pass. Call it once, with "
            "a batch of zeros, before vizkit.wrap."
        )
    origin, told = Weights(AS_GIVEN), str(first.dtype).removeprefix("torch.")
    if first.dtype in (torch.float16, torch.bfloat16):
        origin = Weights(AS_GIVEN, note=f"a copy in float32 of {told} parameters")
        told += ", read as float32"
        native = copied(native).float()
        first = next(native.parameters())
    held = {value: key for key, value in DTYPES.items()}.get(first.dtype)
    if held is None:
        raise SettingError(f"{type(native).__name__} computes in {first.dtype}; convert it with .float() or .double().")
    wanted = held if dtype is None else HELD.get(dtype, dtype)
    if wanted != held:
        raise SettingError(
            f"dtype={dtype!r} needs {wanted} parameters; those of {type(native).__name__} are {told}. Convert it with "
            ".float() or .double()."
        )
    if any(value.is_inference() for value in (*native.parameters(), *native.buffers())):
        raise SettingError(
            f"{type(native).__name__} was made in torch.inference_mode(), so PyTorch cannot differentiate it. Make it, "
            "or load its parameters, outside of that."
        )
    check_dtype(str(first.device), dtype or held)
    return TorchModel(
        native,
        spec,
        name=name or type(native).__name__,
        weights=origin,
        device=str(first.device),
        dtype=dtype or held,
        call=call,
    )
