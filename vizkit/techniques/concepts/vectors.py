"""Concept activation vectors: linear classifiers between two sets of activations, and the test of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...contract.backend import Array, Leaves, Ops, Tensor
from ...contract.errors import SettingError, one_of
from ...support.progress import steps_bar
from ..common.passes import Pass

CLASSIFIERS = ("sgd", "logistic")


@dataclass(frozen=True, eq=False)
class Along:
    """A reduction of a pass: the derivatives "slopes" (N, V) along vectors (D, V) of a layer's values laid flat."""

    layer: str
    vectors: Tensor

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        gradient = done.gradients[self.layer]
        return {"slopes": ops.matmul(ops.reshape(gradient, (len(gradient), -1)), self.vectors)}


def classifier(name: str, seed: int) -> Any:
    """A linear classifier that is not fitted: "sgd", a support vector machine trained by stochastic gradient descent,
    with the settings of Kim et al.'s own code and of captum; or "logistic" regression, which has one solution."""
    from sklearn.linear_model import LogisticRegression, SGDClassifier

    if name == "sgd":
        return SGDClassifier(alpha=0.01, max_iter=1000, tol=1e-3, random_state=seed)
    return LogisticRegression(max_iter=1000)


def trained(positive: Array, negative: Array, name: str, held_out: float, key: list[int]) -> tuple[Array, float]:
    """The unit vector (D,) from the ``negative`` activations (n, D) towards the ``positive`` ones, and the accuracy on
    the share ``held_out`` of both that the classifier did not see."""
    rng = np.random.default_rng(key)
    test = max(1, round(held_out * len(positive)))
    orders = [rng.permutation(len(one)) for one in (positive, negative)]
    learnt = np.concatenate([one[order[test:]] for one, order in zip((positive, negative), orders, strict=True)])
    asked = np.concatenate([one[order[:test]] for one, order in zip((positive, negative), orders, strict=True)])
    truth = np.repeat([1, 0], [len(positive) - test, len(negative) - test])
    shuffled = rng.permutation(len(learnt))
    fitted = classifier(name, int(rng.integers(2**31))).fit(learnt[shuffled], truth[shuffled])
    accuracy = float((fitted.predict(asked) == np.repeat([1, 0], test)).mean())
    vector = np.asarray(fitted.coef_[0], np.float64)
    length = float(np.linalg.norm(vector))
    return (vector / length if length else vector), accuracy


def concept_vectors(
    concepts: Sequence[Array], random: Array, size: int, splits: int, name: str, held_out: float, seed: int
) -> tuple[Array, Array]:
    """Unit vectors (K + 1, S, D) and accuracies (K + 1, S) of K concepts, and at last of a random one, told in each of
    S splits from the same random activations, ``size`` in each set."""
    found: list[list[tuple[Array, float]]] = [[] for _ in range(len(concepts) + 1)]
    with steps_bar("concept vectors", splits) as advance:
        for split in range(splits):
            order = np.random.default_rng([seed, split]).permutation(len(random))
            others, chance = random[order[:size]], random[order[size : 2 * size]]
            for k, every in enumerate([*concepts, chance]):
                some = np.random.default_rng([seed, split, k]).permutation(len(every))[:size]
                found[k].append(trained(every[some], others, name, held_out, [seed, split, k, 1]))
            advance(split + 1, "")
    return np.array([[v for v, _ in row] for row in found]), np.array([[a for _, a in row] for row in found])


def p_values(scores: Array, random: Array) -> Array:
    """(K,) of two-sided t-tests of the scores (K, S) against those (S,) of random concepts, for K concepts tested at
    once (Bonferroni); where neither varies, 1 for equal ones and else 0."""
    from scipy import stats

    def one(ours: Array) -> float:
        if np.ptp(ours) == 0 and np.ptp(random) == 0:
            return float(ours[0] == random[0])
        given = [(one.mean(), one.std(ddof=1), len(one)) for one in (ours, random)]
        return float(stats.ttest_ind_from_stats(*given[0], *given[1]).pvalue)

    return np.minimum(np.array([one(ours) for ours in scores]) * len(scores), 1.0)


def check(name: str, splits: int, held_out: float, alpha: float, counts: Sequence[int], random: int) -> int:
    """How many pictures each set has. Raises SettingError for settings, or numbers of pictures, that make no test."""
    one_of("classifier", name, CLASSIFIERS)
    if splits < 2 or not 0 < held_out < 1 or not 0 < alpha < 1:
        raise SettingError(
            f"splits={splits}, held_out={held_out}, alpha={alpha}: take at least 2 splits, and shares between 0 and 1."
        )
    size = min(*counts, random // 2)
    if size - max(1, round(held_out * size)) < 2:
        raise SettingError(
            f"{min(counts)} pictures of a concept and {random} random ones are too few to learn from and to test on. "
            "Give at least 4 of each concept, and twice as many random ones; 50 and 500 are usual."
        )
    return size
