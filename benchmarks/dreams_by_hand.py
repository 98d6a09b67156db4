"""What an expert would write by hand to optimise a batch of Fourier pictures: the floor of :mod:`benchmarks.dreams`.

Every constant is made once, and nothing is general.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.peers import Upto
from vizkit import ops, parametrisations, transforms

Loop = Callable[[int], Any]


class Draws:
    """The renderer's own transforms, so that both loops show the network the same: what they draw at each step."""

    def __init__(self, kinds: Sequence[transforms.Transform], size: int) -> None:
        self.kinds = kinds
        self.pad, self.first, self.scale, self.turn, self.last = kinds
        self.side = size + 2 * self.pad.width - self.first.pixels
        self.kept = self.side - self.last.pixels
        self.step = 0

    def next(self) -> tuple[list[int], float, float, list[int]]:
        """Corner of the first jitter, factor of the scaling, angle of the rotation in radians, corner of the last
        jitter."""
        rng = np.random.default_rng([0, self.step, 1])
        self.step += 1
        top, left, factor, angle, *last = transforms.draw(self.kinds, rng)
        return [int(top), int(left)], factor, angle, [int(one) for one in last]


def torch_loop(model: Any, layer: str, units: Sequence[int], start: Any, kinds: Any, seen: int, lr: float) -> Loop:
    """PyTorch: its FFT, its interpolation, its Adam."""
    import torch
    import torch.nn.functional as F

    network, size = model.native, start.shape[3]
    dtype = getattr(torch, model.dtype)
    scale = torch.from_numpy(_scale(size)).to(dtype)
    colours = torch.from_numpy(parametrisations.colour_matrix()[:, :, None, None]).to(dtype)
    mean, std = (torch.tensor(one, dtype=dtype).reshape(1, -1, 1, 1) for one in (model.spec.mean, model.spec.std))
    rows = torch.arange(len(units))
    maps = Upto(network, layer)

    def run(steps: int) -> Any:
        leaf = torch.tensor(start, dtype=dtype, requires_grad=True)
        adam = torch.optim.Adam([leaf], lr=lr)
        draws = Draws(kinds, size)

        def picture() -> Any:
            whole = torch.complex(leaf[:, :, 0] * scale, leaf[:, :, 1] * scale)
            return torch.sigmoid(F.conv2d(torch.fft.irfft2(whole, s=(size, size), norm="ortho") / 4, colours))

        for _ in range(steps):
            first, factor, angle, last = draws.next()
            side, kept = draws.side, draws.kept
            x = F.pad(picture(), (draws.pad.width,) * 4, value=0.5)
            x = x[:, :, first[0] : first[0] + side, first[1] : first[1] + side] - 0.5
            cosine, sine = math.cos(angle), math.sin(angle)
            zoomed = [[1.0 / factor, 0.0, 0.0], [0.0, 1.0 / factor, 0.0]]
            for turned in (zoomed, [[cosine, -sine, 0.0], [sine, cosine, 0.0]]):
                matrix = torch.tensor(turned, dtype=dtype)
                grid = F.affine_grid(matrix[None].expand(len(x), -1, -1), list(x.shape), align_corners=True)
                x = F.grid_sample(x, grid, align_corners=True)
            x = x[:, :, last[0] : last[0] + kept, last[1] : last[1] + kept] + 0.5
            x = (F.interpolate(x, size=(seen, seen), mode="bilinear", align_corners=False) - mean) / std
            score = maps(x)[rows, list(units)].mean((1, 2))
            (leaf.grad,) = torch.autograd.grad(-score.sum(), leaf)
            score.detach().numpy().copy()
            adam.step()
        return picture().detach().numpy()

    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return run


def gluon_loop(model: Any, layer: str, units: Sequence[int], start: Any, kinds: Any, seen: int, lr: float) -> Loop:
    """Gluon: matrices for what MXNet lacks, its own blocks, and Adam."""
    from mxnet import autograd, nd

    size, count = start.shape[3], start.shape[0]

    def native(array: Any) -> Any:
        return nd.array(array, dtype=model.dtype)

    blocks = list(model.native.features._children.values())[: int(layer.rpartition(".")[2]) + 1]
    scale = native(_scale(size))
    down, across = (native(one) for one in ops.inverse_fourier_matrices(size, size))
    colours = native(parametrisations.colour_matrix()[:, :, None, None])
    mean, std = (native(np.reshape(one, (1, -1, 1, 1))) for one in (model.spec.mean, model.spec.std))
    at = nd.array(np.stack([np.arange(count), units]), dtype="int64")
    half = size // 2 + 1

    def picture(leaf: Any) -> Any:
        scaled = nd.broadcast_mul(leaf, scale.reshape((1, 1, 1, size, half)))
        stacked = scaled.reshape((count * 3, 2 * size, half)).transpose((1, 0, 2))
        turned = nd.dot(down, stacked.reshape((2 * size, -1))).reshape((2, size, count * 3, half))
        flat = nd.dot(turned.transpose((2, 1, 0, 3)).reshape((-1, 2 * half)), across)
        raw = flat.reshape((count, 3, size, size)) / 4
        return nd.sigmoid(nd.Convolution(raw, colours, kernel=(1, 1), num_filter=3, no_bias=True))

    def along(x: Any, matrix: Any) -> Any:
        """The same on both axes."""
        n, c, height, _ = x.shape
        side = matrix.shape[0]
        flat = nd.dot(x.reshape((n * c * height, -1)), matrix, transpose_b=True).reshape((n * c, height, side))
        flat = nd.dot(matrix, flat.transpose((1, 0, 2)).reshape((height, -1)))
        return flat.reshape((side, n * c, side)).transpose((1, 0, 2)).reshape((n, c, side, side))

    def run(steps: int) -> Any:
        leaf = native(start)
        first_moment, second_moment = nd.zeros_like(leaf), nd.zeros_like(leaf)
        draws = Draws(kinds, size)
        side, kept, pad = draws.side, draws.kept, draws.pad.width
        places = np.arange(side) - (side - 1) / 2
        enlarging = native(ops.bilinear_matrix(kept, seen))
        leaf.attach_grad()
        for step in range(1, steps + 1):
            first, factor, angle, last = draws.next()
            zoom = np.maximum(1.0 - np.abs(places[:, None] / factor - places), 0.0)
            turned = np.exp(1j * angle) * (places + 1j * places[:, None]) / places[-1]
            zoom, grid = native(zoom), native(np.repeat(np.stack([turned.real, turned.imag])[None], count, axis=0))
            with autograd.record():
                x = nd.pad(picture(leaf), mode="constant", pad_width=(0, 0, 0, 0, *(pad,) * 4), constant_value=0.5)
                x = x[:, :, first[0] : first[0] + side, first[1] : first[1] + side]
                x = nd.BilinearSampler(along(x - 0.5, zoom), grid) + 0.5
                x = x[:, :, last[0] : last[0] + kept, last[1] : last[1] + kept]
                x = nd.broadcast_div(nd.broadcast_sub(along(x, enlarging), mean), std)
                for block in blocks:
                    x = block(x)
                score = nd.gather_nd(x, at).mean(axis=(1, 2))
            score.backward()
            score.asnumpy()
            first_moment = 0.9 * first_moment + 0.1 * leaf.grad
            second_moment = 0.999 * second_moment + 0.001 * leaf.grad * leaf.grad
            root = nd.sqrt(second_moment) / math.sqrt(1 - 0.999**step) + 1e-8
            leaf += lr / (1 - 0.9**step) * first_moment / root
        return picture(leaf).asnumpy()

    for parameter in model.native.collect_params().values():
        parameter.grad_req = "null"
    return run


def _scale(size: int) -> Any:
    """One over each coefficient's frequency."""
    return 1.0 / np.maximum(parametrisations.frequencies(size, size), 1.0 / size)


LOOPS: dict[str, Callable[..., Loop]] = {"torch": torch_loop, "gluon": gluon_loop}
