"""Building, loading and wrapping Gluon networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mxnet as mx
from mxnet import gluon
from mxnet.gluon.model_zoo import model_store, vision

from vizkit.contract.backend import AS_GIVEN, PLAIN, Call, Weights
from vizkit.contract.errors import DeviceError, SettingError, UnknownNameError, unknown
from vizkit.contract.spec import InputSpec
from vizkit.zoo import store
from vizkit.zoo import weights as zoo
from vizkit.zoo.architecture import parameter_shapes
from vizkit.zoo.catalog import CATALOG, imagenet_spec
from vizkit.zoo.names import PARAMETER_OF_NORM, gluon_paths

from .call import given
from .googlenet import GoogLeNet
from .legacy import legacy
from .listing import names
from .model import GluonModel
from .ops import GluonOps, context, first_line
from .shapes import ShapesNet

OWN_NORM_NAMES = {own: canonical for canonical, own in PARAMETER_OF_NORM.items()}


def gpus() -> int:
    """GPUs that this build of MXNet can use."""
    if not mx.runtime.Features().is_enabled("CUDA"):
        return 0
    count: int = mx.context.num_gpus()
    return count


def check_device(device: str) -> str:
    """The device's full name, e.g. "cuda:0" for "cuda". Raises DeviceError where there is none."""
    kind, _, index = device.partition(":")
    if device == "cpu":
        return device
    if kind != "cuda" or not (index or "0").isdigit():
        raise DeviceError(f"device={device!r}: vizkit knows 'cpu', 'cuda' and 'cuda:1'.")
    if int(index or 0) >= gpus():
        build = "with" if mx.runtime.Features().is_enabled("CUDA") else "without"
        raise DeviceError(
            f"device={device!r}: MXNet {mx.__version__} is built {build} CUDA and sees {gpus()} GPUs on this machine. "
            "Use device='cpu', or install a CUDA build of MXNet (mxnet-cu112, for example) on a machine with a GPU."
        )
    return f"cuda:{index or 0}"


def build(name: str, found: zoo.Parameters | None = None) -> tuple[Any, dict[str, str]]:
    """An uninitialised canonical network, and its canonical layer names as structural paths.

    Gluon's bottlenecks stride in the first 1x1 convolution and have biases in two. The biases are always taken into
    the batch norms that follow, and unless the weights say otherwise the stride is in the 3x3, so that a name means the
    same tensor as in torchvision's network.
    """
    if name == "shapes":
        return ShapesNet(), {}
    if name == "googlenet":
        network = GoogLeNet(transform_input=found is not None and found.has("transform_input"), **_classes(found))
        return network, {}
    network = vision.get_model(CATALOG[name].gluon_name, **_classes(found))
    if name in ("resnet50", "resnet101", "resnet152"):
        early = found is not None and found.has("stride_in_1x1")
        for stage in list(network.features._children.values())[4:8]:
            for block in stage._children.values():
                _bottleneck(block, early)
    return network, gluon_paths(name)


def _classes(found: zoo.Parameters | None) -> dict[str, int]:
    return {} if found is None or found.classes is None else {"classes": found.classes}


def _bottleneck(block: Any, stride_in_1x1: bool) -> None:
    children = block.body._children
    first, middle, last = children["0"], children["3"], children["6"]
    stride = first._kwargs["stride"]
    for at, old in (("0", first), ("6", last)):
        children[at] = gluon.nn.Conv2D(old._channels, 1, old._kwargs["stride"], use_bias=False)
    if not stride_in_1x1:
        children["0"]._kwargs["stride"], middle._kwargs["stride"] = (1, 1), stride


def parameter_paths(network: Any, paths: dict[str, str]) -> dict[str, str]:
    """Canonical parameter names to structural ones. Without a table the layer names are the same already."""
    layers = {path.removesuffix(".act:input"): name for name, path in reversed(paths.items())}
    out = {}
    for own in network._collect_params_with_prefix():
        layer, _, kind = own.rpartition(".")
        out[f"{layers.get(layer, layer)}.{OWN_NORM_NAMES.get(kind, kind)}"] = own
    return out


@legacy()
def load(name: str, weights: str, device: str, dtype: str) -> GluonModel:
    """See :func:`vizkit.load`."""
    if name not in CATALOG and name not in names():
        raise unknown("model", name, names(), "`vizkit models` lists all.")
    device = check_device(device)
    paths: dict[str, str] = {}
    if name in CATALOG:
        found = store.obtain(name, weights, store.gluon_or_torchvision)
        network, paths = build(name, found)
        shapes: zoo.Shapes = zoo.resized(parameter_shapes(name), found.classes)
        table = parameter_paths(network, paths)
    else:
        network, found, shapes = _other(name, weights)
        table = {own: own for own in shapes}
    own = network._collect_params_with_prefix()
    network.cast(dtype)
    for key, path in table.items():
        parameter = own[path]
        parameter.shape = shapes[key]
        parameter.grad_req = "null"
        # As load_parameters does: initialize() would first fill, and then copy, what is overwritten.
        parameter._load_init(mx.nd.array(found.arrays[key], dtype=dtype), context(device))
    return GluonModel(
        network,
        found.input(name),
        name=name,
        weights=found.origin,
        device=device,
        dtype=dtype,
        paths=paths or None,
        parameters=table,
    )


def _shapes(network: Any, spec: InputSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters by structural name, inferred from the input's size."""
    symbol = network(mx.sym.var("data"))
    arguments, _, states = symbol.infer_shape(data=(1, *spec.shape))
    known = dict(zip(symbol.list_arguments(), arguments, strict=True))
    known |= dict(zip(symbol.list_auxiliary_states(), states, strict=True))
    return {own: tuple(known[p.name]) for own, p in network._collect_params_with_prefix().items()}


def _other(name: str, weights: str) -> tuple[Any, zoo.Parameters, zoo.Shapes]:
    """A network of Gluon's zoo outside the catalog, under its structural names."""
    network = vision.get_model(name)
    side = 299 if name == "inceptionv3" else 224
    spec = replace(imagenet_spec(), size=(side, side), resize=round(side * 256 / 224))
    shapes = _shapes(network, spec)

    def published(name: str) -> zoo.Parameters:
        if name not in model_store._model_sha1:
            raise UnknownNameError(f"Gluon's store has no weights of {name}; use weights='random:7' or a file.")
        return store.gluon_file(name, name, model_store._model_sha1[name])

    found, every = zoo.obtain(name, weights, shapes, dict.fromkeys(("imagenet", "gluon"), published))
    if found.classes is not None:
        network = vision.get_model(name, **_classes(found))
    return network, replace(found, spec=spec), every


@legacy()
def wrap(native: Any, spec: InputSpec, name: str | None, dtype: str | None = None, call: Call = PLAIN) -> GluonModel:
    """See :func:`vizkit.wrap`."""
    if not isinstance(native, gluon.Block):
        raise SettingError(f"vizkit.wrap takes a mxnet.gluon.HybridBlock; got {type(native).__name__}.")
    parameters = list(native.collect_params().values())
    if not parameters:
        raise SettingError(f"{type(native).__name__} has no parameters, so nothing says on which device it computes.")
    if any(isinstance(array, mx.np.ndarray) for parameter in parameters for array in parameter._data or ()):
        raise SettingError(
            f"{type(native).__name__} was built after npx.set_np(), of operators for MXNet's NumPy arrays, which "
            "vizkit does not know. Build it again before that, and give each parameter its value: "
            "set_data(mx.nd.array(value.asnumpy()))."
        )
    told = held = _dtype(native, parameters)
    if told == "float16":
        told, held = "float16, read as float32", "float32"
    if dtype not in (None, held):
        raise SettingError(f"dtype={dtype!r} needs parameters in it; those of {type(native).__name__} are {told}.")
    if any(parameter._data is None for parameter in parameters):
        if told != held:  # MXNet has no dense layer in float16 on the CPU that could tell the shapes
            raise SettingError(
                f"{type(native).__name__} is float16 and has parameters without values. Call it on a picture once, or "
                "load its parameters, before it is cast to float16."
            )
        _initialise(native, spec, call, held)
    first = parameters[0].list_ctx()[0]
    model = GluonModel(
        native,
        spec,
        name=name or type(native).__name__,
        weights=Weights(AS_GIVEN, note=None if told == held else "a copy in float32 of float16 parameters"),
        device="cpu" if first.device_type == "cpu" else f"cuda:{first.device_id}",
        dtype=held,
        call=call,
    )
    if told == held:
        return model
    return model._with_parameters({name: model.parameter(name) for name in model.parameter_shapes()})


def _dtype(native: Any, parameters: list[Any]) -> str:
    """What a network computes in: its weights, or all parameters of one that is frozen whole. Batch norm stays in
    float32 where the rest is float16."""
    trained = [p for p in parameters if p.grad_req != "null"] or parameters
    found: set[str] = {mx.nd.zeros(1, dtype=p.dtype).dtype.__name__ for p in trained}
    if "float16" in found and found <= {"float16", "float32"}:
        return "float16"
    if len(found) != 1 or not found <= {"float32", "float64"}:
        raise SettingError(
            f"{type(native).__name__} computes in {', '.join(sorted(found))}; cast it to float32, float64 or float16."
        )
    return str(found.pop())


def _initialise(native: Any, spec: InputSpec, call: Call, dtype: str) -> None:
    """Let a network whose parameters wait for a first input see one."""
    further = given(native, call, GluonOps("cpu", dtype)).values
    try:
        with mx.autograd.pause():
            native(mx.nd.zeros((1, *spec.shape), dtype=dtype), *further)
    except (RuntimeError, ValueError, AssertionError, mx.base.MXNetError) as error:
        raise SettingError(
            f"{type(native).__name__} has parameters without values ({first_line(str(error))}). Call "
            ".initialize() or .load_parameters() before vizkit.wrap."
        ) from None
