"""The page's words by language. Both languages have the same keys, and the same fields within them."""

from __future__ import annotations

from collections.abc import Mapping

from ...contract.errors import SettingError
from .chinese import CHINESE
from .english import ENGLISH

WORDS: Mapping[str, Mapping[str, str]] = {"en": ENGLISH, "zh": CHINESE}


def words_of(language: str) -> Mapping[str, str]:
    """The words of "en" or "zh" (Traditional Chinese, Taiwan). Raises SettingError for another language."""
    if language not in WORDS:
        raise SettingError(f"language={language!r}: expected {' or '.join(map(repr, WORDS))}.")
    return WORDS[language]
