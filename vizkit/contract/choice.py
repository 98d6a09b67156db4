"""Which of the things that a network returns is its output, for every backend."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .backend import Call
from .errors import SettingError

FIELDS = ("logits", "out")
"""Where networks that return several results keep the one that counts: Hugging Face and torchvision's classifiers,
torchvision's segmentation."""


QUERIES = {"pred_boxes", "pred_masks", "masks_queries_logits"}
"""What networks return beside the classes of their queries, which find objects wherever they are."""


@dataclass(frozen=True)
class Choice:
    """How a backend's results are told: ``single`` says whether something is one array, ``kind`` names it, ``parts``
    makes a list of a result that has no names. ``article`` goes before a kind that stands alone, ``hint`` ends what is
    said where nothing was chosen, ``wanted`` is what is expected."""

    single: Callable[[Any], bool]
    kind: Callable[[Any], str]
    parts: Callable[[Any], list[Any]]
    article: str
    hint: str
    wanted: str

    def output(self, result: Any, call: Call, name: str, choose: Callable[[Any], Any] | None = None) -> Any:
        """The array that counts of what ``name`` returns; where ``call`` does not say which, ``choose`` does, or what
        is clear of itself. Raises SettingError where there is none."""
        wanted = call.output
        if callable(wanted):
            found, said = wanted(result), "the function given as output="
        elif wanted is not None:
            found, said = self._part(result, wanted, name), f"output={wanted!r}"
        else:
            found, said = (choose or self._only)(result), ""
        if self.single(found):
            if (
                not callable(wanted)
                and len(getattr(found, "shape", ())) == 3
                and QUERIES & (fields_of(result) or {}).keys()
            ):
                raise SettingError(
                    f"{name} returns {self.described(result)}: {self.kind(found)} is of {found.shape[1]} queries, each "
                    "for an object anywhere, and none of them is a place of the picture. Choose one: vizkit.wrap(..., "
                    "output=lambda result: ...[:, 7]) takes the classes of the eighth."
                )
            return found
        if wanted is None and str(self.kind(result)).endswith(" ()"):
            raise SettingError(
                f"{name} returns a single number for one picture; expected a row, (1, ...). Where squeeze() took that "
                "away, leave the first axis alone, squeeze(-1), or say output=lambda result: result.reshape(-1, 1)."
            )
        if wanted is None:
            raise SettingError(
                f"{name} returns {self.described(result)}. Say which part of it counts: vizkit.wrap(..., output=) "
                f"takes an index, a key, or a function of what the network returns{self.hint}."
            )
        raise SettingError(
            f"{said} gives {self.described(found)} of {name}'s results; expected {self.wanted} (N, ...)."
        )

    def _only(self, result: Any) -> Any:
        """The result, where it is clear which."""
        if self.single(result):
            return result
        fields = fields_of(result)
        if fields is not None:
            found = [fields[key] for key in FIELDS if self.single(fields.get(key))]
            return found[0] if found else next(iter(fields.values())) if len(fields) == 1 else None
        if isinstance(result, list | tuple) and len(result) == 1:
            return result[0]
        return getattr(result, "logits", None)

    def _part(self, result: Any, wanted: int | str, name: str) -> Any:
        fields = fields_of(result)
        try:
            if isinstance(wanted, str):
                return getattr(result, wanted) if fields is None else fields[wanted]
            return (self.parts(result) if fields is None else list(fields.values()))[wanted]
        except (LookupError, AttributeError, TypeError):
            raise SettingError(
                f"{name} returns {self.described(result)}; output={wanted!r} names no part of it."
            ) from None

    def described(self, result: Any) -> str:
        """What a result is, in words."""
        named: Mapping[Any, Any] | None = fields_of(result)
        if named is None and isinstance(result, list | tuple):
            named = dict(enumerate(result))
        if named is None:
            return self.article + self.kind(result)
        return f"a {type(result).__name__} of " + ", ".join(f"{key!r} {self.kind(one)}" for key, one in named.items())


def fields_of(result: Any) -> Mapping[str, Any] | None:
    """Named parts of a result."""
    if isinstance(result, Mapping):
        return result
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {one.name: getattr(result, one.name) for one in dataclasses.fields(result)}
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return dict(zip(result._fields, result, strict=True))
    return None
