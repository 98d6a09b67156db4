"""The arithmetic of a pass: the same whatever the process around it was set to."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from vizkit.contract.errors import SettingError, SpeedWarning

_BACKENDS: Any = torch.backends
FULL, SHORT = "ieee", "tf32"
"""PyTorch's words for how float32 is multiplied."""


def check_dtype(device: str, dtype: str) -> None:
    """A SpeedWarning for bfloat16 on a CPU that has to imitate it; SettingError for TF32 where there is none."""
    if dtype == "tf32" and device == "cpu":
        raise SettingError(
            "dtype='tf32' is how a GPU multiplies float32 with 10 bits after the point; a CPU does not. Take "
            "device='cuda', or dtype='float32'."
        )
    if dtype != "bfloat16" or device != "cpu":
        return
    if platform.machine().lower() in ("x86_64", "amd64"):
        able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        able = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if not able:
        warnings.warn(
            "dtype='bfloat16': this processor has no instructions for it, so it is slower than float32, up to forty "
            "times. Take dtype='float32', or a GPU.",
            SpeedWarning,
            stacklevel=5,
        )


def _settings(kind: str) -> list[tuple[Any, Any]]:
    """What says how float32 is multiplied on this kind of device, each with what it inherits from."""
    if kind == "cuda":
        return [(_BACKENDS.cudnn.conv, _BACKENDS.cudnn), (_BACKENDS.cuda.matmul, _BACKENDS.cudnn)]
    return [(_BACKENDS.mkldnn.conv, _BACKENDS.mkldnn), (_BACKENDS.mkldnn.matmul, _BACKENDS.mkldnn)]


@contextmanager
def settled(device: str, dtype: str = "float32") -> Iterator[None]:
    """Within the block, float32 is multiplied as float32 (a GPU's convolutions drop 13 of its 23 bits, which PyTorch
    calls TF32, unless told otherwise), or, where ``dtype`` is "tf32", just like that; cuDNN takes kernels that give the
    same digits each time, and neither autocast nor inference mode are on. Everything is as before afterwards."""
    kind = device.partition(":")[0]
    short = dtype == SHORT
    wanted = SHORT if short else FULL
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))
        if hasattr(_BACKENDS.cudnn, "conv"):
            for setting, above in _settings(kind):
                found = setting.fp32_precision
                if found != wanted and (short or found != "none"):
                    stack.callback(setattr, setting, "fp32_precision", _own(found, above.fp32_precision))
                    setting.fp32_precision = wanted
        else:  # PyTorch before 2.9
            found, matmul = torch.get_float32_matmul_precision(), "high" if short else "highest"
            if found != matmul:
                stack.callback(torch.set_float32_matmul_precision, found)
                torch.set_float32_matmul_precision(matmul)
            if kind == "cuda":
                _set(stack, _BACKENDS.cudnn, "allow_tf32", short)
        if kind == "cuda":
            _set(stack, _BACKENDS.cudnn, "benchmark", False)
            _set(stack, _BACKENDS.cudnn, "deterministic", True)
        yield


def _own(found: str, inherited: str) -> str:
    """What to write back: a setting answers with what it inherits where it has nothing of its own."""
    return "none" if found == inherited else found


def _set(stack: ExitStack, holder: Any, name: str, value: bool) -> None:
    found = getattr(holder, name)
    if found is not value:
        stack.callback(setattr, holder, name, found)
        setattr(holder, name, value)
