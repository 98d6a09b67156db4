"""Maps laid over photos: strong where the map is, and the plain photo where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib import colormaps
from PIL import Image

from ..contract.backend import Array
from ..contract.errors import SettingError, check_known
from ..inputs import images
from ..results.attribution import Attribution
from ..results.overlay import COLOURS, Overlay
from ..techniques.common.blind import CLASS_BLIND

ON = ("network", "original")
DIVERGING = "RdBu_r"
"""Matplotlib's colour map of values with a sign: red for the target, blue against it; :data:`COLOURS` is that of maps
without."""
PERCENTILE = 99.5
"""Of a map's absolute values: where its colours end, so that a single pixel does not darken the rest."""
THIN = 200
"""How many times wider a photo is than the line around what the network saw, by its shorter side."""

MEANING = {
    (False, True): ("the brighter a place, the more it counts for the target", "nothing does"),
    (True, True): ("red speaks for the target, blue against it", "neither does"),
    (False, False): ("the brighter a place, the larger the map", "it is small"),
    (True, False): ("red is above zero, blue below", "the map is near zero"),
}
"""What colour means, and where there is none: of maps with a sign or without, that know the target or do not."""


def end(values: Array) -> float:
    """Where the colours of a map end: a high percentile of its size, or its largest value where that is zero."""
    size = np.abs(values[np.isfinite(values)])
    if not size.size or not size.max() > 0:
        return 0.0
    return float(np.percentile(size, PERCENTILE)) or float(size.max())


def limits(values: Array, signed: bool, high: float | None = None) -> tuple[float, float]:
    """Where a map's colours begin and end: for signed ones around zero, for others at their smallest value, so that an
    offset of the whole map is no wash over the picture. ``high`` gives the end, and the colours begin at zero."""
    top = end(values) if high is None else high
    if signed:
        return (-top, top) if top else (-1.0, 1.0)
    low = 0.0 if high is not None else float(np.nanmin(np.where(np.isfinite(values), values, np.nan), initial=top))
    return (low, top) if top > low else (low, low + 1.0)


def beyond(values: Array, ends: tuple[float, float]) -> str:
    """On which sides a map goes on where its colours end, as a colour bar shows it: "neither", "min", "max", "both"."""
    known = values[np.isfinite(values)]
    below, above = (bool(known.size) and one for one in ((known < ends[0]).any(), (known > ends[1]).any()))
    return "both" if below and above else "min" if below else "max" if above else "neither"


def overlay(
    result: Attribution, *, on: str = "network", alpha: float = 0.8, threshold: float = 0.0, cmap: str | None = None
) -> Overlay:
    """See :meth:`vizkit.results.Attribution.overlay`."""
    if on not in ON or not 0 <= alpha <= 1 or not 0 <= threshold < 1:
        raise SettingError(
            f"on={on!r}, alpha={alpha}, threshold={threshold}: expected {' or '.join(map(repr, ON))}, 0 <= alpha <= 1 "
            "and 0 <= threshold < 1."
        )
    if result.values.ndim != 3:
        raise SettingError("An overlay is one of pictures; result.figure() shows maps of signals and volumes.")
    draw = partial(blend, signed=result.signed, alpha=alpha, threshold=threshold, cmap=cmap)
    found = []
    for i, values in enumerate(result.values):
        photo = result.batch.pictures[i]
        if on == "network":
            found.append(draw(photo, values, limits(values, result.signed)))
            continue
        photo, (left, top, right, bottom) = original(result.batch, i)
        x0, y0, x1, y1 = (round(one) for one in (left, top, right, bottom))
        large = Image.fromarray(values.astype(np.float32)).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)
        part = framed(photo, (x0, y0, x1, y1))
        part[y0:y1, x0:x1] = draw(photo[y0:y1, x0:x1], np.asarray(large, np.float64), limits(values, result.signed))
        found.append(part)
    made = {"on": on, "alpha": alpha, "threshold": threshold, "cmap": cmap or _colours(result.signed)}
    settings = {**result.provenance["settings"], "overlay": made}
    return Overlay(tuple(found), result.batch.names, {**result.provenance, "settings": settings})


def framed(photo: Array, part: tuple[int, int, int, int]) -> Array:
    """A copy with a line around a part (left, top, right, bottom), black around white so that it stands out of any
    photo; outside of the part, which stays as it is, so that a side that is the photo's own has none."""
    line = max(1, round(min(photo.shape[:2]) / THIN))
    left, top, right, bottom = part
    out = photo.copy()
    for width, gray in ((2 * line, 0), (line, 255)):
        out[max(top - width, 0) : bottom + width, max(left - width, 0) : right + width] = gray
    out[top:bottom, left:right] = photo[top:bottom, left:right]
    return out


def original(batch: images.Batch, i: int) -> tuple[Array, tuple[float, float, float, float]]:
    """A picture as it was given, and which part of it the network saw: left, top, right, bottom in its pixels.

    Raises SettingError for a batch that does not know.
    """
    if not batch.sources:
        raise SettingError(
            "on='original' needs the photo, and this result is of inputs that were given as the network reads them. "
            "Take on='network'."
        )
    photo = images.read(batch.sources[i])
    seen = images.seen_part(photo.size, batch.pictures.shape[1:3], batch.resize, batch.fit)
    return np.asarray(photo), seen


def blend(
    photo: Array,
    values: Array,
    ends: tuple[float, float],
    *,
    signed: bool,
    alpha: float,
    threshold: float = 0.0,
    cmap: str | None = None,
) -> Array:
    """uint8 (H, W, 3): ``(1 - a) photo + a colour``, ``a = alpha * s`` where the share ``s`` is at least ``threshold``,
    else 0; ``s = min(|v| / high, 1)`` of signed maps, ``min((v - low) / (high - low), 1)`` of others."""
    name = cmap or _colours(signed)
    check_colours(name)
    low, high = ends
    known = np.where(np.isfinite(values), values, 0.0 if signed else low)
    place = np.clip((known - low) / (high - low), 0.0, 1.0)
    colour = colormaps[name](place)[..., :3] * 255
    strength = np.abs(2 * place - 1) if signed else place
    weight = (alpha * np.where(strength >= threshold, strength, 0.0))[..., None]
    return np.asarray(((1 - weight) * photo + weight * colour).round().astype(np.uint8))


def check_colours(name: str) -> None:
    """Raise UnknownNameError where matplotlib has no such colour map."""
    check_known("colour map", name, colormaps)


def colour_maps() -> list[str]:
    """Names of matplotlib's colour maps."""
    return list(colormaps)


def _colours(signed: bool) -> str:
    return DIVERGING if signed else COLOURS


def meaning(results: Sequence[Attribution]) -> tuple[list[str], str]:
    """What colour means, in words, for maps without a sign, then for those with one; and which do not know the
    target, if there are such."""
    found = []
    for signed in (False, True):
        knows = {_knows(result) for result in results if result.signed == signed}
        found += [MEANING[signed, True in knows][0]] if knows else []
    blind = dict.fromkeys(result.provenance["technique"] for result in results if not _knows(result))
    do = "do" if len(blind) > 1 else "does"
    return found, f" ({', '.join(blind)} {do} not know the target)" if blind else ""


def _knows(result: Attribution) -> bool:
    """Whether a map is another one for another target."""
    return result.provenance["technique"] not in CLASS_BLIND


def legend(results: Sequence[Attribution]) -> str:
    """What colour means, in words."""
    words, blind = meaning(results)
    signed = any(result.signed for result in results)
    plain = MEANING[signed, any(_knows(result) for result in results if result.signed == signed)][1]
    cut = any(beyond(one, limits(one, result.signed)) != "neither" for result in results for one in result.values)
    end = f"\ncolours end at the {PERCENTILE}th percentile of a map's size" if cut else ""
    return f"{'; '.join(words)}{blind}; where the photo is plain, {plain}{end}"
