"""A backend for networks of tinynet. Importing this package does not import tinynet."""

from importlib.metadata import version

from vizkit.contract.backend import PLAIN, Backend
from vizkit.contract.errors import SettingError


class NumpyBackend(Backend):
    """See :class:`vizkit.backend.Backend`."""

    name = "numpy"
    framework = "tinynet"
    requires = ("tinynet", "numpy")
    install = "pip install vizkit-numpy"

    def versions(self):
        return {"numpy": version("numpy")}

    def wrap(self, native, spec, name, dtype=None, call=PLAIN):
        from .model import NumpyModel

        own = {value.dtype.name for value in native.parameters.values()} or {"float32"}
        if len(own) > 1 or dtype not in (None, *own):
            raise SettingError(f"dtype={dtype!r}: the network's parameters are {' and '.join(sorted(own))}.")
        if call != PLAIN:
            raise SettingError("A network of tinynet takes a picture alone, and gives one tensor.")
        return NumpyModel(native, spec, name or "tinynet", own.pop(), self.versions())
