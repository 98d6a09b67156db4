"""The same methods by other packages, and the ways of the homework and the blog, on a model's own network and input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vizkit.techniques.dreams.recipe import GRADIENT_FILTERS

Run = Callable[[], Any]


def captum_saliency(model: Any, x: Any, index: int) -> Run:
    """captum's Saliency."""
    import torch
    from captum.attr import Saliency

    method = Saliency(model.native)
    return lambda: method.attribute(torch.from_numpy(x), target=index).amax(1).numpy()


def captum_path(model: Any, x: Any, index: int, steps: int) -> Run:
    """captum's IntegratedGradients with its default rule, 25 points at once."""
    import torch
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(model.native)
    black = torch.from_numpy(((0 - model.ops.numpy(_mean(model))) / model.ops.numpy(_std(model))).astype(np.float32))

    def run() -> Any:
        given = torch.from_numpy(x)
        base = black.expand_as(given)
        options = {"baselines": base, "target": index, "n_steps": steps, "internal_batch_size": 25}
        return method.attribute(given, **options).sum(1).detach().numpy()

    return run


def _mean(model: Any) -> Any:
    return model.ops.asarray(np.reshape(model.spec.mean, (1, -1, 1, 1)))


def _std(model: Any) -> Any:
    return model.ops.asarray(np.reshape(model.spec.std, (1, -1, 1, 1)))


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


def captum_cam(model: Any, x: Any, index: int, layer: str) -> Run:
    """captum's LayerGradCam."""
    import torch
    from captum.attr import LayerGradCam

    method = LayerGradCam(model.native, model.native.get_submodule(layer))

    def run() -> Any:
        found = method.attribute(torch.from_numpy(x), target=index, relu_attributions=True)
        return found.detach().numpy()[:, 0]

    return run


def grad_cam(model: Any, x: Any, index: int, layer: str) -> Run:
    """pytorch-grad-cam's GradCAM; its map is as large as the image, from 0 to 1."""
    import torch
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    method = GradCAM(model.native, [model.native.get_submodule(layer)])
    wanted = [ClassifierOutputTarget(index)] * len(x)
    return lambda: method(torch.from_numpy(x).requires_grad_(True), targets=wanted)


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


def grad_cam_scores(model: Any, x: Any, index: int, layer: str) -> Run:
    """pytorch-grad-cam's ScoreCAM."""
    import torch
    from pytorch_grad_cam import ScoreCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    method = ScoreCAM(model.native, [model.native.get_submodule(layer)])
    return lambda: method(torch.from_numpy(x), targets=[ClassifierOutputTarget(index)] * len(x))


def blog_dream(model: Any, layer: str, unit: int, stages: int, steps: int, start: Any) -> Run:
    """The blog's loop: the whole network runs, every parameter gets a gradient, a hook keeps the layer. Gives the
    activation at every step. ``start`` is the normalised noise."""
    import copy

    import torch
    import torch.nn.functional as F

    network = copy.deepcopy(model.native).requires_grad_(True)
    one = np.array(GRADIENT_FILTERS["scharr"])
    kernels = torch.tensor(np.stack([one, one.T] * 3)[:, None], dtype=torch.float32)
    found: dict[str, Any] = {}
    network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: found.update(at=output))

    def run() -> Any:
        x, size, trace = torch.tensor(start), start.shape[-1], []
        for stage in range(stages):
            if stage:
                size = round(size * 1.05)
                x = F.interpolate(x.detach(), size=(size, size), mode="bilinear", align_corners=False)
            x = x.detach().requires_grad_(True)
            adam = torch.optim.Adam([x], lr=0.4)
            for _ in range(steps):
                adam.zero_grad()
                network(x)
                activation = found["at"][:, unit].pow(2).mean().sqrt()
                slopes = F.conv2d(x, kernels, groups=3)
                loss = -0.5 * activation + x.pow(2).mean().sqrt() + slopes.pow(2).mean().sqrt()
                loss.backward()
                adam.step()
                trace.append(activation.item())
        return np.array(trace)

    return run
