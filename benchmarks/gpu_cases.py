"""What is timed on a GPU: each case beside captum, pytorch-grad-cam and loops by hand, at the same precision."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import vizkit
from benchmarks import peers
from vizkit.objectives import unit

Call = Callable[[], Any]
CAM = {"googlenet": "inception5b", "resnet152": "layer4", "squeezenet1_1": "features.12"}
DREAM = {"googlenet": "inception4a", "resnet152": "layer3.5", "squeezenet1_1": "features.6"}
FEW = {"googlenet": "conv2", "resnet152": "maxpool", "squeezenet1_1": "features.3.squeeze"}
"""Layers of few channels, at most 64, for a quick look at what takes a pass for each."""
UNIT = 25
STEADY = (64, 320)
"""Steps of a short and a long rendering, whose difference are steps alone."""


@dataclass
class Trial:
    """Contestants by name, ours first; ``work`` is how many steps a call makes."""

    contestants: dict[str, Call]
    work: int = 1
    rounds: int | None = None
    absent: list[str] = field(default_factory=list)


class Setting:
    """One network with some pictures, in vizkit and as a peer has it: frozen, and in evaluation."""

    def __init__(self, name: str, device: str, pictures: int, quick: bool) -> None:
        self.name, self.device, self.count, self.quick = name, device, pictures, quick
        self.model = vizkit.load(name, backend="torch", weights="random:7", device=device)
        self.native = copy.deepcopy(self.model.native).eval().requires_grad_(False)
        self.arrays = [vizkit.images.noise(0, 255, size=224, seed=1 + k) for k in range(pictures)]
        self.ready = vizkit.images.prepare(self.arrays, self.model.spec, fit="squash")
        self.x = torch.from_numpy(self.ready.tensor)
        self.folder = tempfile.TemporaryDirectory()

    def there(self) -> Any:
        return self.x.to(self.device)

    def files(self) -> list[Path]:
        """The pictures as PNG files."""
        paths = [Path(self.folder.name) / f"{k}.png" for k in range(self.count)]
        for path, array in zip(paths, self.arrays, strict=True):
            if not path.exists():
                Image.fromarray(array).save(path)
        return paths

    def gradient(self, x: Any) -> Any:
        x = x.requires_grad_(True)
        (found,) = torch.autograd.grad(self.native(x)[:, 0].sum(), x)
        return found

    def by_hand(self) -> Any:
        return self.gradient(self.there()).abs().amax(1).cpu().numpy()


def beside(ours: dict[str, Call], others: dict[str, Callable[[], Call]]) -> Trial:
    """Ours and those others whose packages are there; the rest is named."""
    trial = Trial(ours)
    for name, make in others.items():
        try:
            trial.contestants[name] = make()
        except ImportError:
            trial.absent.append(name)
    return trial


def saliency(given: Setting) -> Trial:
    """Maps of one picture or many."""
    model, ready, options = given.model, given.ready, {"target": 0, "fit": "squash"}
    found: dict[str, Call] = {
        "vizkit, ready": lambda: vizkit.saliency(model, ready, target=0),
        "vizkit, arrays": lambda: vizkit.saliency(model, given.arrays, **options),
        "by hand": given.by_hand,
    }
    if given.device != "cpu":
        found["by hand, CUDA graph"] = _graph(given)
    if given.count > 1:
        paths, spec = given.files(), model.spec
        mean, std = (np.asarray(one, np.float32)[:, None, None] for one in (spec.mean, spec.std))

        def by_hand_from_files() -> Any:
            read = [np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) / np.float32(255) for path in paths]
            given.x = torch.from_numpy(np.stack([(one - mean) / std for one in read]))
            return given.by_hand()

        found["vizkit, files"] = lambda: vizkit.saliency(model, paths, **options)
        found["by hand, files"] = by_hand_from_files
    return beside(found, {"captum": lambda: peers.captum_saliency(given.native, given.there, 0)})


def gradcam(given: Setting) -> Trial:
    """Class-activation maps; captum's stay at the layer's size."""
    layer = CAM[given.name]

    def pytorch_grad_cam() -> Call:
        return peers.grad_cam(copy.deepcopy(given.native).requires_grad_(True), given.x, 0, layer)

    ours: dict[str, Call] = {"vizkit, ready": lambda: vizkit.gradcam(given.model, given.ready, layer=layer, target=0)}
    captum = partial(peers.captum_cam, given.native, given.there, 0, layer)
    return beside(ours, {"captum": captum, "pytorch-grad-cam": pytorch_grad_cam})


def integrated_gradients(given: Setting) -> Trial:
    """Fifty steps."""
    steps = 4 if given.quick else 50

    def captum() -> Call:
        from captum.attr import IntegratedGradients

        method = IntegratedGradients(given.native)
        return lambda: method.attribute(given.there(), baselines=0.0, target=0, n_steps=steps).cpu().numpy()

    ours = partial(vizkit.integrated_gradients, given.model, given.ready, target=0, steps=steps)
    return beside({"vizkit, ready": ours}, {"captum": captum})


def smoothgrad(given: Setting) -> Trial:
    """A hundred samples."""
    samples = 4 if given.quick else 100

    def captum() -> Call:
        from captum.attr import NoiseTunnel, Saliency

        method, options = NoiseTunnel(Saliency(given.native)), {"nt_samples": samples, "stdevs": 0.15}
        return lambda: method.attribute(given.there(), target=0, **options).cpu().numpy()

    ours = partial(vizkit.smoothgrad, given.model, given.ready, target=0, samples=samples)
    return beside({"vizkit, ready": ours}, {"captum": captum})


def scorecam(given: Setting) -> Trial:
    """One pass for each channel."""
    layer = FEW[given.name] if given.quick else CAM[given.name]
    ours = {"vizkit, ready": lambda: vizkit.scorecam(given.model, given.ready, layer=layer, target=0)}
    return Trial(ours, rounds=3)


def predict(given: Setting) -> Trial:
    """The classes of a picture."""

    def by_hand() -> Any:
        with torch.no_grad():
            return given.native(given.there()).cpu()

    return Trial({"vizkit, ready": lambda: given.model.predict(given.ready), "by hand": by_hand})


def dream(given: Setting) -> Trial:
    """The published recipe, 46 sizes of 20 steps, against the same as a plain loop."""
    stages, steps = (2, 3) if given.quick else (46, 20)
    layer = DREAM[given.name]
    options = {"stages": stages, "steps": steps}
    found: dict[str, Call] = {
        "vizkit, ready": lambda: vizkit.dream(given.model, layer, UNIT, **options),
        "by hand": lambda: plain_dream(given, layer, stages, steps),
    }
    return Trial(found, rounds=2)


def render(given: Setting) -> Trial:
    """A whole short rendering; its steps alone are told by a long one."""
    short, long = (3, 6) if given.quick else STEADY
    aim = unit(DREAM[given.name], UNIT)
    found: dict[str, Call] = {
        "vizkit, ready": lambda: vizkit.render(given.model, aim, steps=short),
        "vizkit, long": lambda: vizkit.render(given.model, aim, steps=long),
    }
    return Trial(found, work=long - short, rounds=3)


CASES: dict[str, tuple[Callable[[Setting], Trial], tuple[int, ...]]] = {
    "saliency": (saliency, (1, 32)),
    "gradcam": (gradcam, (1, 32)),
    "integrated_gradients": (integrated_gradients, (1,)),
    "smoothgrad": (smoothgrad, (1,)),
    "scorecam": (scorecam, (1,)),
    "predict": (predict, (1,)),
    "dream": (dream, (1,)),
    "render": (render, (1,)),
}
"""Cases, and of how many pictures."""


def plain_dream(given: Setting, layer: str, stages: int, steps: int) -> Any:
    """The recipe by hand, no further than the layer."""
    start = torch.randn(1, 3, 28, 28, device=given.device)
    return peers.grown(peers.Upto(given.native, layer), UNIT, start, stages, steps)[0].detach().cpu().numpy()


def _graph(given: Setting) -> Call:
    """Saliency by hand, captured once."""
    static = given.there().requires_grad_(True)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            torch.autograd.grad(given.native(static)[:, 0].sum(), static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        (found,) = torch.autograd.grad(given.native(static)[:, 0].sum(), static)
        made = found.abs().amax(1)

    def run() -> Any:
        static.data.copy_(given.x, non_blocking=True)
        graph.replay()
        return made.cpu().numpy()

    return run
