"""The page's words by language: Chinese is that of Taiwan. All have the same keys, and the same fields within them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files

from ...contract.errors import SettingError

WORDS: Mapping[str, Mapping[str, str]] = {
    language: json.loads((files("vizkit.reports.homework") / f"{language}.json").read_text(encoding="utf-8"))
    for language in ("en", "zh")
}


def words_of(language: str) -> Mapping[str, str]:
    """The words of "en" or "zh" (Traditional Chinese, Taiwan). Raises SettingError for another language."""
    if language not in WORDS:
        raise SettingError(f"language={language!r}: expected {' or '.join(map(repr, WORDS))}.")
    return WORDS[language]
