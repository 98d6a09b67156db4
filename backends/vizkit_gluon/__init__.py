"""MXNet Gluon backend of vizkit. Importing this package does not import MXNet; starting the backend does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vizkit.contract.backend import PLAIN, Backend, Call, Model, cpu_count, gpu_driver
from vizkit.contract.errors import SettingError
from vizkit.contract.spec import InputSpec

from .start import install

if TYPE_CHECKING:
    from vizkit.contract.probes import Case, Probe

install()


class GluonBackend(Backend):
    """MXNet Gluon: the network is traced once to its graph, which is then evaluated under ``autograd.record``."""

    name = "gluon"
    framework = "mxnet"
    requires = ("mxnet",)
    install = "pip install 'vizkit[gluon]' (with Python 3.10 to 3.12)"

    def start(self, threads: int | None) -> None:
        from . import start

        start.import_mxnet(threads or cpu_count(), asked=threads is not None)

    def versions(self) -> dict[str, str]:
        from . import listing

        return listing.versions()

    def devices(self) -> tuple[str, ...]:
        if not gpu_driver():
            return ("cpu",)
        from . import networks

        return ("cpu", *(f"cuda:{i}" for i in range(networks.gpus())))

    def threads(self) -> int:
        from . import start

        return start.threads()

    def set_threads(self, count: int) -> None:
        if count != self.threads():
            raise SettingError(
                f"MXNet runs with {self.threads()} threads and cannot change that once it has started. Set the "
                f"environment variable OMP_NUM_THREADS={count} before Python starts, or call "
                f"vizkit.set_threads({count}) before the first network is loaded."
            )

    def models(self) -> list[str]:
        from . import listing

        return listing.names()

    def load(self, name: str, weights: str, device: str, dtype: str) -> Model:
        from . import networks

        return networks.load(name, weights, device, dtype)

    def wrap(
        self, native: Any, spec: InputSpec, name: str | None, dtype: str | None = None, call: Call = PLAIN
    ) -> Model:
        from . import networks

        return networks.wrap(native, spec, name, dtype, call)

    def probe(self, case: Case, device: str, dtype: str) -> Probe:
        from . import doctor

        return doctor.probe(case, device, dtype)
