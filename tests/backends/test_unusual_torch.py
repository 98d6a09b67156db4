"""Networks of PyTorch that do more than to call layers: against the same networks written plainly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit

if "torch" not in INSTALLED:
    pytest.skip("what networks of PyTorch do; PyTorch is not installed", allow_module_level=True)
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

pytestmark = pytest.mark.cpu
SIZE = 10
PICTURE = np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE))
CLOSE = 1e-12
"""As a part of the largest value; measured up to 1e-15."""


def wrapped(native: nn.Module, **options: Any) -> vizkit.backend.Model:
    return vizkit.wrap(native.double(), input_size=SIZE, mean=(0,) * 3, std=(1,) * 3, dtype="float64", **options)


def apart(found: Any, wanted: Any) -> float:
    """The largest difference as a part of the largest value."""
    return float(abs(np.asarray(found) - np.asarray(wanted)).max() / abs(np.asarray(wanted)).max())


class Checkpointed(nn.Module):
    """Its middle is computed again for the gradient; ``form`` None: it is not. The two convolutions keep tensors of
    the same shapes, which PyTorch takes for each other where a hook stops between them."""

    def __init__(self, form: bool | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 4, 3)
        parts = [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)]
        self.middle = nn.Sequential(*parts, nn.BatchNorm2d(4), nn.ReLU())
        self.last = nn.Linear(4, 3)
        self.form = form
        for norm in (self.middle[2], self.middle[4]):
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        h = self.middle(h) if self.form is None else checkpoint(self.middle, h, use_reentrant=self.form)
        return self.last(h.mean((2, 3)))


MAPS: dict[str, Callable[..., Any]] = {
    "saliency": vizkit.saliency,
    "at a layer": lambda model, x, target: vizkit.gradcam(model, x, target=target, layer="middle.1", relu=False),
    "rules": vizkit.lrp,
    "ReLU's rule": vizkit.guided_backprop,
}


@pytest.mark.parametrize("form", [True, False], ids=["reentrant", "other"])
@pytest.mark.parametrize("kind", MAPS)
def test_what_a_checkpoint_puts_off_is_computed_in_the_pass(kind: str, form: bool) -> None:
    plain, put_off = Checkpointed(None), Checkpointed(form)
    mapped = MAPS[kind]
    before = {name: value.clone() for name, value in put_off.double().state_dict().items()}
    found = mapped(wrapped(put_off), PICTURE, target=1).values
    assert apart(found, mapped(wrapped(plain), PICTURE, target=1).values) < CLOSE
    for name, value in put_off.state_dict().items():
        assert torch.equal(value, before[name]), name
    # Outside of a pass it is put off as ever, by whoever trains the network.
    runs: list[int] = []
    put_off.middle[0].register_forward_hook(lambda *_: runs.append(1))
    put_off(torch.tensor(PICTURE)).sum().backward()
    assert len(runs) == 2


class Doubled(torch.autograd.Function):
    """A function of the user's own, which no function of PyTorch's shows."""

    @staticmethod
    def forward(_ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(_ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return 2 * gradients[0]


READS: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "nobody": lambda _x, _p: 0,
    "another function": lambda _x, p: p,
    "a function on another path than a blank picture's": lambda x, p: p if x.abs().max() > 0 else 0,
    "somebody's own function": lambda _x, p: Doubled.apply(p),
}


class Read(nn.Module):
    """A convolution whose result its batch norm reads, and who else ``reads`` names; returned, too."""

    def __init__(self, reads: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.norm.running_mean.fill_(1.0)
        self.norm.running_var.fill_(9.0)
        self.reads = READS[reads]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        p = self.conv(x)
        return self.last(torch.tanh(self.norm(p) + self.reads(x, p)).mean((2, 3))), p


def gradient(network: nn.Module, x: Any, part: int = 0) -> tuple[Any, Any]:
    """The result, and what PyTorch alone takes for the gradient of its second column."""
    given = torch.tensor(x, requires_grad=True)
    result = network.double().eval()(given)[part]
    return result.detach(), torch.autograd.grad(result[:, 1].sum(), given)[0].abs().amax(1)


@pytest.mark.parametrize("part", [0, 1], ids=["the logits", "the convolution's result"])
@pytest.mark.parametrize("reads", READS)
def test_a_convolution_is_folded_only_where_its_batch_norm_alone_reads_it(reads: str, part: int) -> None:
    network = Read(reads)
    result, wanted = gradient(network, PICTURE, part)
    model = wrapped(network, output=part)
    assert apart(model.forward(torch.tensor(PICTURE))["output"], result) < CLOSE
    if part == 0:
        assert apart(vizkit.saliency(model, PICTURE, target=1).values, wanted) < CLOSE


def test_rules_that_merge_take_what_others_read_for_itself() -> None:
    twice = Read("another function")
    model = wrapped(Read("nobody"), output=0)
    wanted = vizkit.lrp(wrapped(twice, output=0), PICTURE, target=1).values
    assert apart(vizkit.lrp(model, PICTURE, target=1).values, wanted) > 0.1
    model.native.reads = READS["another function"]
    assert apart(vizkit.lrp(model, PICTURE, target=1).values, wanted) < CLOSE


@pytest.mark.parametrize("change", ["another forward", "a hook on all modules"])
def test_what_reads_a_convolution_after_the_first_pass(change: str) -> None:
    network = Read("nobody")
    model = wrapped(network, output=0)
    first = vizkit.saliency(model, PICTURE, target=1).values
    if change == "another forward":
        network.reads = READS["another function"]
        _, wanted = gradient(network, PICTURE)
        found = vizkit.saliency(model, PICTURE, target=1).values
    else:

        def doubled(module: nn.Module, _inputs: Any, output: Any) -> Any:
            return 2 * output if isinstance(module, nn.Conv2d) else None

        handle = nn.modules.module.register_module_forward_hook(doubled)
        try:
            _, wanted = gradient(network, PICTURE)
            found = vizkit.saliency(model, PICTURE, target=1).values
        finally:
            handle.remove()
    assert apart(found, wanted) < CLOSE
    assert apart(first, wanted) > 0.1


Step = Callable[[torch.Tensor], torch.Tensor]


class Between(nn.Module):
    """A convolution, a step of eight channels, and a tanh; or the step behind all else."""

    def __init__(self, step: Step, last: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.dense = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)
        self.step, self.last = step, last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv(x)
        if self.last:
            return self.step(self.dense(h.mean((2, 3))))
        return self.dense(torch.tanh(self.step(h)).mean((2, 3)))


def a_slice(h: torch.Tensor) -> torch.Tensor:
    h[:, :4].relu_()
    return h


def a_slice_plainly(h: torch.Tensor) -> torch.Tensor:
    return torch.cat([h[:, :4].relu(), h[:, 4:]], 1)


def all_as_rows(h: torch.Tensor) -> torch.Tensor:
    h.view(len(h), -1).relu_()
    return h


def slices_that_overlap(h: torch.Tensor) -> torch.Tensor:
    early, late = h[:, :4], h[:, 2:6]
    assert early.relu_() is early
    late.mul_(2)
    early.mul_(3)
    return torch.cat([late, h[:, 4:]], 1)


def slices_that_overlap_plainly(h: torch.Tensor) -> torch.Tensor:
    h = a_slice_plainly(h)
    h = torch.cat([h[:, :2], 2 * h[:, 2:6], h[:, 6:]], 1)
    h = torch.cat([3 * h[:, :4], h[:, 4:]], 1)
    return torch.cat([h[:, 2:6], h[:, 4:]], 1)


def a_slice_taken_before(h: torch.Tensor) -> torch.Tensor:
    early = h[:, :4]
    h.relu_()
    return torch.cat([2 * early, h], 1)[:, :8]


def a_slice_taken_before_plainly(h: torch.Tensor) -> torch.Tensor:
    h = h.relu()
    return torch.cat([2 * h[:, :4], h[:, :4]], 1)


STEPS: dict[str, tuple[Step, Step]] = {
    "a slice": (a_slice, a_slice_plainly),
    "all as rows": (all_as_rows, torch.relu),
    "slices that overlap": (slices_that_overlap, slices_that_overlap_plainly),
    "a slice taken before": (a_slice_taken_before, a_slice_taken_before_plainly),
}
RULED: dict[str, Callable[..., Any]] = {
    "guided": vizkit.guided_backprop,
    "lrp": lambda model, x, target: vizkit.lrp(model, x, target=target, rules="epsilon"),
    "deeplift": lambda model, x, target: vizkit.deeplift(model, x, target=target, baseline="mean"),
}


@pytest.mark.parametrize("kind", RULED)
@pytest.mark.parametrize("step", STEPS)
def test_what_is_written_to_a_part_of_a_tensor_is_in_the_whole(step: str, kind: str) -> None:
    writes, plainly = STEPS[step]
    wanted = RULED[kind](wrapped(Between(plainly)), PICTURE, target=1).values
    assert apart(RULED[kind](wrapped(Between(writes)), PICTURE, target=1).values, wanted) < CLOSE


@pytest.mark.parametrize("kind", ["lrp", "deeplift"])
def test_what_is_written_last_is_the_result(kind: str) -> None:
    def tripled(h: torch.Tensor) -> torch.Tensor:
        h.mul_(3)
        return h

    wanted = RULED[kind](wrapped(Between(lambda h: 3 * h, last=True)), PICTURE, target=1).values
    assert apart(RULED[kind](wrapped(Between(tripled, last=True)), PICTURE, target=1).values, wanted) < CLOSE


class OwnRelu(torch.autograd.Function):
    """A ReLU that only its user knows to be one."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * (ctx.saved_tensors[0] > 0)


@pytest.mark.parametrize("kind", RULED)
@pytest.mark.parametrize("hides", ["an own function", "the last function", "TorchScript"])
def test_what_hides_its_operations_from_rules_is_refused(hides: str, kind: str) -> None:
    last = hides == "the last function"
    network = Between(lambda h: torch.relu(h) if hides == "TorchScript" else OwnRelu.apply(torch.relu(h + 2)), last)
    if hides == "TorchScript":
        network.conv = torch.jit.trace(network.conv.double().eval(), torch.tensor(PICTURE))
    model = wrapped(network)
    assert vizkit.saliency(model, PICTURE, target=1).values.max() > 0
    says = "none that torch shows|TorchScript hides" if hides == "TorchScript" else "Function of its own, OwnRelu"
    with pytest.raises(vizkit.errors.SettingError, match=says):
        RULED[kind](model, PICTURE, target=1)


def test_a_network_that_draws_random_numbers_warns() -> None:
    network = Between(lambda h: torch.relu(h + torch.randn(()).to(h)))
    with pytest.warns(vizkit.errors.MapWarning, match="Between draws random numbers"):
        vizkit.saliency(wrapped(network), PICTURE, target=1)


class Placed(nn.Module):
    """Adds places that a convolution makes of a constant, before the picture's own comes; ``made``: in each pass."""

    def __init__(self, made: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.places, self.conv, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.register_buffer("grid", torch.randn(1, 1, SIZE, SIZE))
        with torch.no_grad():
            self.register_buffer("found", self.places.double()(self.grid.double()))
        self.made = made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = self.places(self.grid) if self.made else self.found
        return self.last(torch.relu(self.conv(x) + places).mean((2, 3)))


def test_the_first_of_a_networks_convolutions_is_the_first_that_reads_the_picture() -> None:
    """Composites give it a rule of its own."""
    maps = [
        vizkit.lrp(wrapped(Placed(made)), PICTURE, target=1, rules="epsilon_plus_flat").values for made in (True, False)
    ]
    assert apart(*maps) < CLOSE
