"""Every error that vizkit raises on purpose: what was given, what was expected, and what to do about it. Who finds the
mistake writes the message; :func:`unknown` words that of every name that does not exist."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable

MOST_NAMES, SOME_NAMES = 120, 12
"""So many names a message lists in all, and so many of more."""


class VizkitError(Exception):
    """Base of all errors that a user can mend. The command line prints its message and exits with code 2."""


class UnknownNameError(VizkitError):
    """A model, layer, backend, label or technique that does not exist; the message offers the nearest names."""


class BackendMissingError(VizkitError):
    """A backend whose framework is not installed; the message gives the pip line."""


class DeviceError(VizkitError):
    """A device that this machine, or this build of the framework, does not have."""


class WeightsError(VizkitError):
    """Weights that cannot be found, downloaded, verified, read, or do not fit the network."""


class ImageError(VizkitError):
    """An image that cannot be found, read, or has a shape that no image has."""


class ShapeError(VizkitError):
    """A tensor whose shape does not fit what it is used for."""


class SettingError(VizkitError):
    """A setting outside what it may be, or two settings that exclude each other."""


class LayerError(VizkitError):
    """A layer that exists and cannot be observed: reused within one pass, never run, or without a tensor output."""


class DisconnectedError(VizkitError):
    """A gradient asked for something that the score does not depend on. Never answered with zeros. ``names`` are the
    leaves, as far as the framework says which."""

    names: tuple[str, ...] = ()


class DivergedError(VizkitError):
    """An optimisation met a value that is not finite. ``last_good`` holds the last finite picture, if any."""

    last_good: object = None


class MapWarning(UserWarning):
    """A map that says nothing: one value everywhere, values that are not finite, or of a picture that is none to the
    network; the text gives likely causes."""


class WeightsWarning(UserWarning):
    """Weights that another program would take and compute something else from; the text says what to do there."""


class SpeedWarning(UserWarning):
    """A setting meant for speed that makes this machine slower; the text says what to take instead."""


def warn(message: str) -> None:
    """A :class:`MapWarning` that points at the line outside vizkit from which the technique was called."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "vizkit":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, MapWarning, stacklevel=level)


PICTURE = ":input"
"""The leaf that stands for the picture; no layer has such a name."""


def disconnected(names: Iterable[str]) -> DisconnectedError:
    """The error for gradients at these leaves, which do not exist."""
    which = tuple(names)
    said = " and ".join("the picture" if name == PICTURE else repr(name) for name in which)
    if which == (PICTURE,):
        advice = (
            "Likely causes: a part of the network that runs without gradients (no_grad, detach, NumPy), or a result "
            "that has none (argmax, round). Let them pass, or take a method without gradients: vizkit.occlusion, "
            "vizkit.rise, vizkit.scorecam."
        )
    else:
        advice = "Take a layer that lies before the score, or a score that comes after it."
    error = DisconnectedError(f"The score does not depend on {said}, so it has no gradient there. {advice}")
    error.names = which
    return error


def unknown(what: str, given: str, known: Iterable[str], hint: str = "") -> UnknownNameError:
    """The error for a misspelt name: the nearest known names first; else all of them when they are few, or when no
    ``hint`` says where they are listed; else some."""
    names = list(known)
    near = difflib.get_close_matches(given, names, n=4, cutoff=0.5)
    if not near:
        near = [name for name in names if given.lower() in name.lower()][:4] if given else []
    if near:
        offer = f" Did you mean {' or '.join(repr(name) for name in near)}?"
    elif names:
        shown = names if len(names) <= (40 if hint else MOST_NAMES) else names[:SOME_NAMES]
        offer = f" Known: {', '.join(shown)}{'' if len(shown) == len(names) else ', …'}."
    else:
        offer = ""
    return UnknownNameError(f"Unknown {what} {given!r}.{offer}{' ' + hint if hint else ''}")


def check_known(what: str, given: str, known: Iterable[str]) -> None:
    """Raise :func:`unknown` for a name that is not among those ``known``."""
    if given not in known:
        raise unknown(what, given, known)


def one_of(setting: str, given: object, known: Iterable[str]) -> None:
    """Raise SettingError where a setting is none of the words that it may be."""
    *words, last = known
    if given not in (*words, last):
        raise SettingError(f"{setting}={given!r}: expected {', '.join(map(repr, words))} or {last!r}.")
