"""Whether a file is the one that its store published."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from vizkit.contract.errors import SettingError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Digest:
    """The published hash: the first digits of the SHA-256 (torchvision), the whole SHA-1 (MXNet), both, or none."""

    sha256_prefix: str | None = None
    sha1: str | None = None

    def __post_init__(self) -> None:
        for what, given, pattern in (
            ("sha256_prefix", self.sha256_prefix, "[0-9a-fA-F]{8,64}"),
            ("sha1", self.sha1, "[0-9a-fA-F]{40}"),
        ):
            if given is not None and not re.fullmatch(pattern, given):
                raise SettingError(f"{what}={given!r} is no such hash: expected hexadecimal digits, {pattern}.")

    @property
    def known(self) -> bool:
        """Whether there is anything to verify against."""
        return self.sha256_prefix is not None or self.sha1 is not None

    def problem(self, path: Path) -> str | None:
        """What is wrong with the file, with both hashes; None where it is the published one or none is known."""
        for algorithm, name, expected in (("sha256", "SHA-256", self.sha256_prefix), ("sha1", "SHA-1", self.sha1)):
            if expected is not None:
                found = file_hash(path, algorithm)
                if not found.startswith(expected.lower()):
                    return f"its {name} is {found}, expected {expected.lower()}{'…' if len(expected) < 40 else ''}"
        return None


def file_hash(path: Path, algorithm: str) -> str:
    """A hash of a file's bytes in hexadecimal digits; ``algorithm`` as ``hashlib`` names it."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
