"""The globals that a ``.pth`` pickle may name. They are compared as text; nothing is imported."""

from __future__ import annotations

from dataclasses import dataclass

from vizkit.zoo.formats.kinds import KINDS, Kind

STORAGES = {
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "UntypedStorage": "uint8",
}
"""PyTorch's storage classes, and the element type of each."""

CALLABLE = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.nn.parameter.Parameter",
}
"""What a pickle may call; the unpickler carries each out itself."""


@dataclass(frozen=True)
class Global:
    """The name of an admitted global, and the element type where it is a storage class."""

    name: str
    kind: Kind | None = None


def admit(module: str, name: str) -> Global | None:
    """The global, or None where tensors do not need it.

    >>> admit("torch", "FloatStorage").kind.name
    'float32'
    >>> admit("os", "system") is None
    True
    """
    if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES:
        return Global(name, KINDS[STORAGES[name]])
    full = f"{module}.{name}"
    return Global(full) if full in CALLABLE else None
