"""Keywords that have got another name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from ..contract.errors import SettingError

P = ParamSpec("P")
R = TypeVar("R")


def renamed(**successors: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Above a function, and above all else that decorates it, ``@renamed(old="new")``: the old keyword still works, and
    warns its caller. With both, SettingError."""

    def named(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            for old in successors.keys() & kwargs.keys():
                new = successors[old]
                if new in kwargs:
                    raise SettingError(f"{old}= is now {new}=: give {new}= alone.")
                warnings.warn(f"{old}= is now {new}=.", DeprecationWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return run

    return named
