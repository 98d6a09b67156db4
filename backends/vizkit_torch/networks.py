"""Building, loading and wrapping PyTorch networks."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from vizkit.contract.backend import AS_GIVEN, PLAIN, Call, Weights
from vizkit.contract.errors import DeviceError, SettingError, unknown
from vizkit.contract.spec import InputSpec, make_spec
from vizkit.zoo import store
from vizkit.zoo import weights as zoo
from vizkit.zoo.catalog import CATALOG, imagenet_spec, spec_of

from . import timm
from .listing import names, torchvision
from .model import TorchModel
from .modules import floats
from .ops import DTYPES, HELD
from .precision import check_dtype
from .shapes import ShapesNet


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


def build(name: str, found: zoo.Parameters | None = None) -> nn.Module:
    """An untrained network; canonical ones without initial values, since every parameter is about to be given."""
    if name not in CATALOG:
        more = {} if found is None or found.classes is None else {"num_classes": found.classes}
        network: nn.Module = torchvision().models.get_model(name, weights=None, **more)
        return network
    if name == "shapes":
        with torch.device("meta"):
            return ShapesNet()
    options: dict[str, Any] = {}
    if name == "googlenet":
        transform = found is not None and found.has("transform_input")
        options = {"aux_logits": False, "init_weights": False, "transform_input": transform}
    if found is not None and found.classes is not None:
        options["num_classes"] = found.classes
    with torch.device("meta"):
        network = torchvision().models.get_model(name, weights=None, **options)
    if found is not None and found.has("stride_in_1x1"):
        for block in network.modules():
            if isinstance(block, torchvision().models.resnet.Bottleneck):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return network


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters and stored statistics, by name."""
    return {name: tuple(value.shape) for name, value in floats(network).items()}


def load(name: str, weights: str, device: str, dtype: str) -> TorchModel:
    """See :func:`vizkit.load`."""
    if not (name in CATALOG or name.startswith(timm.PREFIX) or name in names()):
        raise unknown("model", name, names(), "`vizkit models` lists all.")
    device = check_device(device)
    check_dtype(device, dtype)
    if name.startswith(timm.PREFIX):
        network, found, spec = timm.build(name, weights)
    elif name in CATALOG:
        found = store.obtain(name, weights, store.torchvision_weights)
        spec = found.spec or spec_of(name)
        network = build(name, found)
    else:
        network = build(name)
        found, spec = _other(name, weights, network)
        if found.classes is not None:
            network = build(name, found)
    if found.classes is not None and (spec.labels is None or len(spec.labels) != found.classes):
        spec = replace(spec, labels=None)
    held = DTYPES[HELD.get(dtype, dtype)]
    every: Any = network.state_dict()  # with what tells a module's older forms
    for key, value in every.items():
        if key in found.arrays:
            every[key] = torch.from_numpy(found.arrays[key]).to(device, held)
        elif value.is_meta:  # a counter
            every[key] = torch.zeros((), dtype=value.dtype)
    network.load_state_dict(every, assign=True)
    network.to(device=device, dtype=held).eval().requires_grad_(False)
    return TorchModel(network, spec, name=name, weights=found.origin, device=device, dtype=dtype)


def _other(name: str, weights: str, network: nn.Module) -> tuple[zoo.Parameters, InputSpec]:
    """Weights and input of a torchvision network outside the catalog."""
    spec = imagenet_spec()
    seed = zoo.seed_of(weights)
    if seed is not None:
        found = zoo.draw(shapes(network), seed)
    elif weights in ("imagenet", "torchvision"):
        found, spec = _published(name)
    else:
        found = zoo.from_file(name, weights, names=shapes(network))
    found, own = zoo.headed(found, shapes(network))
    found = zoo.reduced(found, set(network.state_dict()) - set(own))
    zoo.check(found, own, name)
    return found, spec


def _published(name: str) -> tuple[zoo.Parameters, InputSpec]:
    """Weights and input of a torchvision network outside the catalog, as torchvision publishes them."""
    choices = torchvision().models.get_model_weights(name)
    best = next(iter(choices))
    transforms = best.transforms()
    spec = make_spec(
        transforms.crop_size[0],
        tuple(transforms.mean),
        tuple(transforms.std),
        tuple(best.meta["categories"]),
        transforms.resize_size[0],
    )
    return store.torch_file(name, best.url.rsplit("/", 1)[-1]), spec


SHELLS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
"""Modules that only run another one, and where they keep it."""


def wrap(native: Any, spec: InputSpec, name: str | None, dtype: str | None = None, call: Call = PLAIN) -> TorchModel:
    """See :func:`vizkit.wrap`. Of a compiled network, or one that is spread over devices, the module inside is taken:
    its layers have the names that the user gave them, and run once."""
    if not isinstance(native, nn.Module):
        raise SettingError(f"vizkit.wrap takes a torch.nn.Module; got {type(native).__name__}.")
    while type(native).__name__ in SHELLS and type(native).__module__.startswith("torch."):
        native = getattr(native, SHELLS[type(native).__name__])
    first = next(native.parameters(), None)
    if first is None:
        raise SettingError(f"{type(native).__name__} has no parameters, so nothing says on which device it computes.")
    origin = Weights(AS_GIVEN)
    if first.dtype in (torch.float16, torch.bfloat16):
        origin = Weights(AS_GIVEN, note=f"a copy in float32 of {str(first.dtype).removeprefix('torch.')} parameters")
        native = copy.deepcopy(native).float()
        first = next(native.parameters())
    held = {value: key for key, value in DTYPES.items()}.get(first.dtype)
    if held is None:
        raise SettingError(f"{type(native).__name__} computes in {first.dtype}; convert it with .float() or .double().")
    wanted = held if dtype is None else HELD.get(dtype, dtype)
    if wanted != held:
        raise SettingError(f"dtype={dtype!r} needs {wanted} parameters; those of {type(native).__name__} are {held}.")
    if any(value.is_inference() for value in native.state_dict(keep_vars=True).values()):
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
