"""The same methods by other packages, and the ways of the homework and the blog, on a model's own network and
input; ``suite_cases.py`` and ``gpu_cases.py`` say what is timed with them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from vizkit.techniques.dreams.recipe import GRADIENT_FILTERS

Run = Callable[[], Any]


class Upto:
    """A PyTorch network that runs no further than a layer, and gives the layer's output."""

    class Stop(Exception):
        """Thrown by the layer's hook."""

    def __init__(self, network: Any, layer: str) -> None:
        self.network, self.layer = network, network.get_submodule(layer)

    def __call__(self, x: Any) -> Any:
        found: list[Any] = []

        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            found.append(output)
            raise self.Stop

        handle = self.layer.register_forward_hook(keep)
        with contextlib.suppress(self.Stop):
            self.network(x)
        handle.remove()
        return found[0]


def captum_saliency(network: Any, there: Run, index: int) -> Run:
    """captum's Saliency; ``there`` gives the pictures where the network is."""
    from captum.attr import Saliency

    method = Saliency(network)
    return lambda: method.attribute(there().requires_grad_(True), target=index).amax(1).cpu().numpy()


def captum_path(model: Any, x: Any, index: int, steps: int) -> Run:
    """captum's IntegratedGradients with its default rule, 25 points at once."""
    import torch
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(model.native)
    black = torch.from_numpy(
        ((0 - np.reshape(model.spec.mean, (1, -1, 1, 1))) / np.reshape(model.spec.std, (1, -1, 1, 1))).astype(
            np.float32
        )
    )

    def run() -> Any:
        given = torch.from_numpy(x)
        base = black.expand_as(given)
        options = {"baselines": base, "target": index, "n_steps": steps, "internal_batch_size": 25}
        return method.attribute(given, **options).sum(1).detach().numpy()

    return run


def captum_noise(model: Any, x: Any, index: int, samples: int, noise: float) -> Run:
    """captum's NoiseTunnel around its Saliency of signed gradients, five samples at once, its noise being its own."""
    import torch
    from captum.attr import NoiseTunnel, Saliency

    method = NoiseTunnel(Saliency(model.native))
    deviation = noise * float(x.max() - x.min())

    def run() -> Any:
        options = {"nt_samples": samples, "nt_samples_batch_size": 5, "stdevs": deviation, "abs": False}
        return method.attribute(torch.from_numpy(x), target=index, **options).abs().amax(1).numpy()

    return run


def captum_cam(network: Any, there: Run, index: int, layer: str) -> Run:
    """captum's LayerGradCam; its maps stay at the layer's size."""
    from captum.attr import LayerGradCam

    method = LayerGradCam(network, network.get_submodule(layer))
    return lambda: method.attribute(there(), target=index, relu_attributions=True).detach().cpu().numpy()[:, 0]


def grad_cam(network: Any, x: Any, index: int, layer: str, method: str = "GradCAM") -> Run:
    """pytorch-grad-cam's GradCAM, or ScoreCAM; its map is as large as the image, from 0 to 1."""
    import pytorch_grad_cam
    import torch
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = getattr(pytorch_grad_cam, method)(network, [network.get_submodule(layer)])
    wanted = [ClassifierOutputTarget(index)] * len(x)
    given = torch.as_tensor(x)
    return lambda: cam(given.detach().requires_grad_(method == "GradCAM"), targets=wanted)


def torch_cam(model: Any, x: Any, index: int, layer: str) -> Run:
    """torch-cam's GradCAM; its map has the layer's size, from 0 to 1. Its hooks stay, so it gets a copy."""
    import copy

    import torch
    from torchcam.methods import GradCAM

    network = copy.deepcopy(model.native)
    method = GradCAM(network, layer)

    def run() -> Any:
        scores = network(torch.from_numpy(x).requires_grad_(True))
        return method(index, scores)[0].detach().numpy()

    return run


def blog_dream(model: Any, layer: str, unit: int, stages: int, steps: int, start: Any) -> Run:
    """The blog's loop: the whole network runs, every parameter gets a gradient, a hook keeps the layer. Gives the
    activation at every step. ``start`` is the normalised noise."""
    import copy

    import torch

    network = copy.deepcopy(model.native).requires_grad_(True)
    found: dict[str, Any] = {}
    network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: found.update(at=output))

    def maps(x: Any) -> Any:
        network(x)
        return found["at"]

    return lambda: np.array([one.item() for one in grown(maps, unit, torch.tensor(start), stages, steps)[1]])


def grown(maps: Callable[[Any], Any], unit: int, x: Any, stages: int, steps: int) -> tuple[Any, list[Any]]:
    """The published recipe as a reader of it would write it: the last picture, and the activation at every step.
    ``maps`` gives the layer's output."""
    import torch
    import torch.nn.functional as F

    one = torch.tensor(GRADIENT_FILTERS["scharr"], dtype=torch.float32, device=x.device)
    kernels = torch.stack([one, one.T] * 3)[:, None]
    size, trace = x.shape[-1], []
    for stage in range(stages):
        if stage:
            size = round(size * 1.05)
            x = F.interpolate(x.detach(), size=(size, size), mode="bilinear", align_corners=False)
        x = x.detach().requires_grad_(True)
        adam = torch.optim.Adam([x], lr=0.4)
        for _ in range(steps):
            adam.zero_grad()
            activation = maps(x)[:, unit].pow(2).mean().sqrt()
            slopes = F.conv2d(x, kernels, groups=3)
            loss = -0.5 * activation + x.pow(2).mean().sqrt() + slopes.pow(2).mean().sqrt()
            loss.backward()
            adam.step()
            trace.append(activation.detach())
    return x, trace
