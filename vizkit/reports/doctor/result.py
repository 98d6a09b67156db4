"""What the doctor found: numbers, verdicts, and whether all is well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

OWN = "vizkit"
"""The name of the way that vizkit itself takes."""
RIGHT, COARSE, WRONG = "right", "coarse", "wrong"
LIMITS = {"float32": (1e-5, 1e-2), "float64": (1e-7, 1e-5)}
"""Relative L2 norm of the deviation from float64 up to which a result is right, and up to which it is coarse, as where
a GPU multiplies with shortened numbers (TF32). Anything more, or a value that is not finite, is wrong."""


@dataclass(frozen=True)
class Check:
    """One layer type in one way: the relative L2 deviations of its output and of its gradient at the input, infinite
    for values that are not finite; ``error`` when it could not be computed."""

    layer: str
    way: str
    dtype: str
    forward: float = float("inf")
    gradient: float = float("inf")
    error: str | None = None

    @property
    def verdict(self) -> str:
        """Of the worse of the two."""
        return max((self.judge(self.forward), self.judge(self.gradient)), key=(RIGHT, COARSE, WRONG).index)

    def judge(self, deviation: float) -> str:
        """ "right", "coarse" or "wrong"."""
        right, coarse = LIMITS[self.dtype]
        return RIGHT if deviation <= right else COARSE if deviation <= coarse else WRONG


@dataclass(frozen=True)
class Examination:
    """One backend on one device. ``advice`` is what to do about each way of the framework's own, by its name;
    ``error`` says why nothing could be examined."""

    backend: str
    device: str
    versions: Mapping[str, str] = field(default_factory=dict)
    threads: int = 0
    checks: tuple[Check, ...] = ()
    advice: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def right(self) -> bool:
        """Whether everything could be examined, and vizkit's own way is nowhere wrong."""
        own = [check for check in self.checks if check.way == OWN]
        return self.error is None and bool(own) and all(check.verdict != WRONG for check in own)

    def ways(self) -> list[str]:
        """Names of the ways, vizkit's own first."""
        return list(dict.fromkeys(check.way for check in self.checks))

    def of(self, way: str, verdict: str) -> list[Check]:
        """The checks of one way with that verdict."""
        return [check for check in self.checks if check.way == way and check.verdict == verdict]


@dataclass(frozen=True)
class Diagnosis:
    """Everything that :func:`vizkit.doctor` found. ``absent`` gives the line that installs each backend that is not."""

    examinations: tuple[Examination, ...]
    absent: Mapping[str, str]
    processor: str
    cores: int
    versions: Mapping[str, str]
    dtype: str
    seed: int

    @property
    def right(self) -> bool:
        """Whether vizkit's own gradients are right in every backend and on every device examined, at least one."""
        return bool(self.examinations) and all(one.right for one in self.examinations)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; deviations that are not finite are None."""
        return {
            "right": self.right,
            **{name: getattr(self, name) for name in ("processor", "cores", "dtype", "seed")},
            "versions": dict(self.versions),
            "absent": dict(self.absent),
            "examinations": [_examination(one) for one in self.examinations],
        }

    def __str__(self) -> str:
        from .show import text

        return text(self)


def _examination(one: Examination) -> dict[str, Any]:
    checks = [
        {name: value for name, value in asdict(check).items() if name != "dtype"}
        | {"verdict": check.verdict, "forward": _finite(check.forward), "gradient": _finite(check.gradient)}
        for check in one.checks
    ]
    return {**asdict(one), "right": one.right, "checks": checks}


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
