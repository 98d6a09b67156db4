"""PyTorch backend of vizkit. Importing this package does not import PyTorch; starting the backend does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vizkit.contract.backend import PLAIN, Backend, Call, Model, gpu_driver
from vizkit.contract.spec import InputSpec

if TYPE_CHECKING:
    from vizkit.contract.probes import Case, Probe


class TorchBackend(Backend):
    """PyTorch and torchvision, through hooks."""

    name = "torch"
    framework = "torch"
    requires = ("torch", "torchvision")
    install = "pip install 'vizkit[torch]'"
    dtypes = ("float32", "float64", "bfloat16", "tf32")

    def versions(self) -> dict[str, str]:
        from . import listing

        return listing.versions()

    def devices(self) -> tuple[str, ...]:
        if not gpu_driver():
            return ("cpu",)
        import torch

        return ("cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())))

    def threads(self) -> int:
        import torch

        return torch.get_num_threads()

    def set_threads(self, count: int) -> None:
        import torch

        torch.set_num_threads(count)

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
