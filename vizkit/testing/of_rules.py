"""What the contract requires of a backend that carries out backward rules (:class:`vizkit.backend.Mode`), by rules that
hand back the true derivative at every operation and put down what they were asked and what they got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vizkit.contract.backend import OUTPUT, Array, Evaluated, Mode, Model, Rule, Rules, Tensor
from vizkit.contract.errors import SettingError
from vizkit.contract.graph import AFFINE, SILENT, nonnegative
from vizkit.contract.probes import Case, Part
from vizkit.reports.doctor import reference
from vizkit.techniques.common.relu import relu_mode
from vizkit.techniques.relevance.composites import Composite
from vizkit.techniques.relevance.lrp_rules import Epsilon

from .assertions import assert_close, optional
from .kit import EPSILON, TRAPS, Kit, Layers, case, wrap
from .of_models import gradient, pictures, summed, true_values, zeros

TINY: Layers = [("conv", 3, 2, 3, 1), ("norm", 2), ("pool",), ("relu",), ("flatten",), ("dense", 2 * 2 * 2, 3)]
SIDE: Layers = [("conv", 3, 2, 3, 1), ("conv", 2, 2, 3, 1), ("dense", 2 * 6 * 6, 4)]
"""The layers of :meth:`vizkit.testing.Kit.side`."""
QUIET = (*SILENT, "reshape")
"""Kinds that change no value, of which a backend may ask or not."""


class Truth(Rules):
    """The true derivative at every operation, as a rule."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self.followed: list[Evaluated] = []

    def rule(self, kind: str, inputs: int, affine: int) -> Rule | None:
        self.asked.append((kind, inputs, affine))
        return self._pulled

    def _pulled(self, done: Evaluated, back: Tensor) -> Sequence[Tensor]:
        self.followed.append(done)
        return done.pull(back)

    @property
    def told(self) -> list[tuple[str, int, int]]:
        """What it was asked about operations that change values."""
        return [one for one in self.asked if one[0] not in QUIET]


class Merged(Truth):
    """The same, of batch norms that are one with their convolutions."""

    merges = True


def ruled(kit: Kit, layers: Layers = TRAPS, size: int = 16) -> Model:
    """The network as its framework computes it, operation by operation; SettingError where no rule is honoured."""
    model = kit.model(layers, size)
    model.optimise = False
    return shown(model)


def shown(model: Model) -> Model:
    """The model; SettingError where it says that it honours no rule."""
    if not model.has_relu():
        raise SettingError("Model.has_relu() is False for a network with a ReLU.")
    return model


def seen(kit: Kit, native: Any) -> Model:
    """The network, whose ReLUs a backend that honours rules sees, too, though no layer is called in a row."""
    shown(kit.model(TINY, 4))
    model = wrap(native, 6)
    assert model.has_relu(), "Model.has_relu() is False where a ReLU is a function, or runs twice"
    return model


def noted(model: Model, rules: Rules, x: Array, keep: Sequence[str] = (OUTPUT,), **given: Any) -> list[Evaluated]:
    """All that follows a rule in a pass."""
    found: list[Evaluated] = []
    model.forward(model.ops.asarray(x), keep, mode=Mode(rules=rules, noted=found, **given))
    return found


def loud(found: Sequence[Evaluated]) -> list[Evaluated]:
    """Those that change values."""
    return [done for done in found if done.kind not in QUIET]


def kind_of(part: Part) -> str:
    """In the words of :mod:`vizkit.contract.graph`."""
    return "linear" if part.kind == "dense" else part.kind


def expected(parts: Sequence[Part]) -> list[tuple[str, int, int]]:
    """What rules are asked about parts in a row."""
    found: list[tuple[str, int, int]] = []
    for kind in map(kind_of, parts):
        if kind not in QUIET:
            found.append((kind, 1, sum(one in AFFINE for one, _, _ in found)))
    return found


def folded(parts: Sequence[Part]) -> list[Part]:
    """Each batch norm in the convolution before it."""
    found: list[Part] = []
    for part in parts:
        if part.kind == "batch_norm":
            own, before = part.arrays, found[-1].arrays
            scale = own["weight"] / np.sqrt(own["var"] + EPSILON)
            bias = (before["bias"] - own["mean"]) * scale + own["bias"]
            arrays = {"weight": before["weight"] * scale[:, None, None, None], "bias": bias}
            found[-1] = replace(found[-1], arrays=arrays)
        else:
            found.append(part)
    return found


def run(part: Part, x: Array) -> Array:
    """What one part makes of values, in NumPy."""
    return reference.forward(Case("", (part,), (3, 1, 1)), x)


def back(part: Part, x: Array, cotangent: Array) -> Array:
    """Its derivative, by central differences."""
    return reference.gradient(Case("", (part,), (3, 1, 1)), x, cotangent)


def parameters_of(model: Model, done: Evaluated, shape: tuple[int, ...]) -> dict[str, Array]:
    """Those of an affine operation, by name; a framework may hold a dense layer's weight the other way round."""
    weight, bias = (model.ops.numpy(one) for one in done.parameters)
    return {"weight": weight if weight.shape == shape else weight.T, "bias": bias}


class RuleTests:
    """Extended by :class:`vizkit.testing.ContractTests`."""

    @pytest.mark.parametrize("rule", ["guided", "deconvnet", "redirected"])
    @optional("Mode.rules")
    def test_relu_rules(self, kit: Kit, rule: str) -> None:
        """What a ReLU hands back of a gradient ``g``: guided ``g (x > 0) (g > 0)``, deconvnet ``g (g > 0)``; redirected
        ``g (x > 0)``, but ``g (g > 0)`` for a picture of which that is zero everywhere."""
        layers = [("relu",), ("flatten",), ("dense", 3 * 4 * 4, 5)]
        model, x = kit.model(layers, 4), pictures(2, 4)
        x[1] = -np.abs(x[1])  # of which no ReLU lets anything through
        g = case(layers).parts[2].arrays["weight"].sum(axis=0).reshape(1, 3, 4, 4)
        true, upwards = g * (x > 0), np.repeat(np.maximum(g, 0), 2, axis=0)
        wanted = {"guided": upwards * (x > 0), "deconvnet": upwards, "redirected": np.stack([true[0], upwards[1]])}
        found = gradient(shown(model), x, summed(model, relu_mode(rule)))
        assert_close(found, wanted[rule])
        assert_close(gradient(model, x, summed(model, Mode())), true, "the true gradient afterwards")

    @optional("Mode.rules, Rules.rule, Rules.merges")
    def test_rules_are_asked_about_every_operation(self, kit: Kit) -> None:
        """In order, by kind, inputs and the affine operations before; with ``merges`` a batch norm is one with the
        convolution that it alone reads, unless what lies between is handed out, and without it is not. The derivative
        as a rule gives the true gradient."""
        model, x, parts = ruled(kit), pictures(1), case(TRAPS).parts
        apart = [part for part in parts if part.kind != "batch_norm"]
        half = [part for i, part in enumerate(parts) if i != 6]  # the norm behind the second convolution
        true = gradient(model, x, summed(model, Mode()))
        for rules, keep, wanted in (
            (Truth(), (OUTPUT,), parts),
            (Merged(), (OUTPUT,), apart),
            (Merged(), ("0", OUTPUT), half),
        ):
            what = f"asked for {keep}, with merges = {rules.merges}"
            found = noted(model, rules, x, keep)
            assert rules.told == expected(wanted), what
            assert [done.kind for done in found] == [kind for kind, _, _ in rules.asked], f"noted, {what}"
            if len(keep) == 1:
                rules.asked.clear()
                assert_close(gradient(model, x, summed(model, Mode(rules=rules))), true, f"the gradient, {what}")
                assert rules.told == expected(wanted), f"in a pass that is differentiated, {what}"

    @optional("Mode.rules, Evaluated")
    def test_what_a_rule_gets(self, kit: Kit) -> None:
        """Inputs, parameters and output of each operation; whether the inputs can be negative, and which operation gave
        them."""
        model, x = ruled(kit), pictures(1)
        for rules, parts in ((Truth(), case(TRAPS).parts), (Merged(), folded(case(TRAPS).parts))):
            every = noted(model, rules, x)
            for i, done in enumerate(every):
                assert done.source is (every[i - 1] if i else None), f"source of {done.kind} at place {i}"
                assert done.beside is None
            assert rules.told == expected(parts)
            assert [done.kind for done in loud(every)] == [kind for kind, _, _ in rules.told], "what was noted"
            found, value, low = iter(loud(every)), x, False
            for part in parts:
                before, value = value, run(part, value)
                was, low = low, nonnegative(kind_of(part), [low])
                if part.kind in QUIET:
                    continue
                done, what = next(found), f"a {part.kind}, with merges = {rules.merges}"
                assert done.nonnegative == was, f"whether inputs of {what}, are known to have no negative values"
                assert_close(model.ops.numpy(done.inputs[0]).ravel(), before.ravel(), f"the input of {what},")
                assert_close(model.ops.numpy(done.output), value, f"the output of {what},")
                assert len(done.inputs) == 1
                if done.kind not in AFFINE:
                    assert done.parameters == (), f"parameters of {what}"
                    continue
                assert len(done.parameters) == 2, f"weight and bias of {what}"
                for name, own in parameters_of(model, done, part.arrays["weight"].shape).items():
                    assert_close(own, part.arrays[name], f"{name} of {what},")

    @optional("Mode.beside, Evaluated.beside")
    def test_passes_beside_one_another(self, kit: Kit) -> None:
        """Each operation gets its own of the list of another pass, where it is noted and where it is differentiated."""
        model, (x, other) = ruled(kit, TINY, 4), pictures(2, 4)[:, None]
        rules = Truth()
        first = noted(model, rules, other)
        second = noted(model, rules, x, beside=first)
        assert len(second) == len(first) > 0
        assert all(done.beside is one for done, one in zip(second, first, strict=True))
        gradient(model, x, summed(model, Mode(rules=rules, beside=first)))
        assert len(rules.followed) == len(first)
        assert all(done.beside is one for done, one in zip(reversed(rules.followed), first, strict=True))

    @optional("Evaluated.pull, Evaluated.again")
    def test_an_operation_again(self, kit: Kit) -> None:
        """``pull`` is the derivative by central differences, of an affine operation with other parameters as often as
        one likes; ``again`` computes it on other inputs, with other parameters, or with some of them."""
        model = ruled(kit, TINY, 4)
        ops, rng, close = model.ops, np.random.default_rng(3), 1e-7 if kit.dtype == "float64" else 1e-4
        parts = [part for part in case(TINY).parts if part.kind not in QUIET]
        found = loud(noted(model, Truth(), pictures(1, 4)))
        assert [done.kind for done in found] == [kind_of(part) for part in parts], "what was noted"
        for part, done in zip(parts, found, strict=True):
            (x,), y, what = map(ops.numpy, done.inputs), ops.numpy(done.output), f"of a {part.kind}"
            other, cotangent = rng.permutation(x.ravel()).reshape(x.shape) + 0.01, rng.normal(size=y.shape)
            given, down = ops.asarray(other), ops.asarray(cotangent)
            pulled = [(part, x, done.pull(down), "pull")]
            anew = done.again([given])
            assert anew.kind == done.kind
            assert_close(ops.numpy(anew.output), run(part, other), f"again {what} on other inputs")
            pulled.append((part, other, anew.pull(down), "again(...).pull"))
            if done.kind in AFFINE:
                weight, bias = (ops.asarray(ops.numpy(one) * 1.5 + 0.1) for one in done.parameters)
                arrays = {name: one * 1.5 + 0.1 for name, one in part.arrays.items()}
                both, half = (
                    replace(part, arrays=arrays),
                    replace(part, arrays={**part.arrays, **arrays, "bias": part.arrays["bias"]}),
                )
                assert_close(ops.numpy(done.again([], [weight]).output), run(half, x), f"again {what}, another weight")
                changed = done.again([given], [weight, bias])
                assert_close(ops.numpy(changed.output), run(both, other), f"again {what}, all others")
                pulled.append((both, other, changed.pull(down), "again(...).pull, all others"))
                pulled += [(both, x, done.pull(down, [weight]), "pull with another weight") for _ in range(2)]
            for own, at, got, how in pulled:
                wanted = back(own, at.astype(float), cotangent)
                assert len(got) == 1
                off = np.abs(ops.numpy(got[0]) - wanted).max() / np.abs(wanted).max()
                assert off <= close, f"{how} {what} is off by {off:.1e} of the largest value"

    @optional("Mode.rules")
    def test_relevance_computed_by_hand(self, kit: Kit) -> None:
        """LRP-epsilon: a dense layer and a convolution, with its batch norm, give ``x w^T (R / z)``, the ReLU hands all
        on, and the pool gives all to the maximum."""
        model, x, rule = shown(kit.model(TINY, 4)), pictures(1, 4), Epsilon(0.01)
        parts, values = folded(case(TINY).parts), [x]
        for part in parts:
            values.append(run(part, values[-1]))
        relevance = np.ones_like(values[-1])
        for part, value, z in zip(reversed(parts), reversed(values[:-1]), reversed(values[1:]), strict=True):
            if kind_of(part) in AFFINE:
                relevance = value * back(part, value, relevance / (z + 0.01 * np.sign(z)))
            elif part.kind != "relu":
                relevance = back(part, value, relevance)
        found = gradient(model, x, summed(model, Mode(rules=Composite(rule, rule))))
        off = np.abs(found - relevance).max() / np.abs(relevance).max()
        assert off <= (1e-7 if kit.dtype == "float64" else 1e-4), f"off by {off:.1e} of the largest value"

    @optional("Mode.rules, Model.forward(add=)")
    def test_what_is_added_is_no_operation(self, kit: Kit) -> None:
        """No rule is asked about a term, behind which nothing tells any more where values come from and whether they
        are negative."""
        model, x, rules = ruled(kit), pictures(1), Truth()
        alone = [done.kind for done in noted(model, rules, x)]
        found: list[Evaluated] = []
        add = {"2": lambda value: -2.0 * value}
        model.forward(model.ops.asarray(x), (OUTPUT,), add, Mode(rules=rules, noted=found))
        assert [done.kind for done in found] == alone
        after = found[alone.index("max_pool")]
        assert (after.nonnegative, after.source) == (False, None)
        assert_close(model.ops.numpy(after.inputs[0]), -true_values()[0]["2"][:1], "what reads it,")

    @optional("Mode.rules, Kit.side")
    def test_functions_follow_rules(self, kit: Kit) -> None:
        """A sum and a ReLU that the network calls as functions, in place or not, are asked about with all that they
        read, and handed over as they were; an operation whose result nobody reads may be asked about or not."""
        model, x, rules = seen(kit, kit.side()), pictures(1, 6), Truth()
        done = loud(noted(model, rules, x))
        told = [(kind, inputs) for kind, inputs, _ in rules.told]
        if told.count(("conv", 1)) == 2:
            told.remove(("conv", 1))
        assert told == [("conv", 1), ("sum", 1), ("add", 2), ("relu", 1), ("linear", 1)]
        assert [affine > 0 for _, _, affine in rules.told] == [False] + [True] * (len(rules.told) - 1)
        conv, _, last = case(SIDE).parts
        assert [one.kind for one in done] == [kind for kind, _, _ in rules.told], "what was noted"
        (sums,) = (one for one in done if one.kind == "add")
        added = (run(conv, x), x.sum(axis=1, keepdims=True))
        for value, wanted in zip((*sums.inputs, sums.output), (*added, sum(added)), strict=True):
            assert_close(model.ops.numpy(value), np.asarray(wanted), "what the sum reads and gives")
        g = np.maximum(last.arrays["weight"].sum(axis=0).reshape(1, 2, 6, 6), 0) * (sum(added) > 0)
        wanted = back(conv, x, g) + g.sum(axis=1, keepdims=True)
        off = np.abs(gradient(model, x, summed(model, relu_mode("guided"))) - wanted).max() / np.abs(wanted).max()
        assert off <= (1e-7 if kit.dtype == "float64" else 1e-4), f"guided: off by {off:.1e} of the largest value"

    @optional("Mode.rules, Kit.reuse")
    def test_a_layer_that_runs_twice_is_asked_about_twice(self, kit: Kit) -> None:
        """Rules hold for operations, and not for layers: a ReLU that runs twice follows one twice."""
        model, rules = seen(kit, kit.reuse()), Truth()
        noted(model, rules, pictures(1, 6))
        assert [kind for kind, _, _ in rules.told].count("relu") == 2

    @optional("Mode.rules, Kit.side")
    def test_rules_are_the_same_whatever_is_asked_for(self, kit: Kit) -> None:
        """What comes back to a layer around which there is a path is the same with and without the picture among the
        leaves: an operation's inputs are those that depend on the picture, and not those that lead to a leaf."""
        model, rule = seen(kit, kit.side()), Epsilon(0.01)
        ops, found = model.ops, []
        for names in (("conv", "x"), ("conv",)):
            given = {"x": ops.asarray(pictures(1, 6)), "conv": zeros(model, "conv", 1)}

            def score(leaves: dict[str, Any], given: dict[str, Any] = given) -> Any:
                every, mode = {**given, **leaves}, Mode(rules=Composite(rule, rule))
                return ops.sum(model.forward(every["x"], add={"conv": every["conv"]}, mode=mode)[OUTPUT], 1), None

            found.append(ops.numpy(ops.value_and_grad(score, {name: given[name] for name in names})[1]["conv"]))
        assert_close(found[1], found[0], "what comes back without the picture among the leaves")
