"""Weights from the frameworks' stores into their caches: resumed where possible, verified, and whole or not at all."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vizkit.contract.errors import WeightsError
from vizkit.zoo.download.digest import Digest
from vizkit.zoo.download.part import Part, part_of
from vizkit.zoo.download.transfer import Transfer, TransferError
from vizkit.zoo.download.unzip import unpack

Progress = Callable[[int, int | None], None]

ATTEMPTS = 3
"""How often a broken connection is taken up, the first time included."""
PAUSE = 0.5
"""Seconds before the second attempt; each further pause is twice as long."""


def torch_cache() -> Path:
    """Where PyTorch keeps fetched weights: ``$TORCH_HOME/hub/checkpoints``, by default below ``~/.cache/torch``."""
    home = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def mxnet_cache() -> Path:
    """Where MXNet keeps fetched weights: ``$MXNET_HOME/models``, by default ``~/.mxnet/models``."""
    return Path(os.environ.get("MXNET_HOME") or "~/.mxnet").expanduser() / "models"


def torch_repository() -> str:
    """The address below which torchvision's files lie; ``VIZKIT_TORCH_REPO`` names a mirror. Ends with a slash."""
    return (os.environ.get("VIZKIT_TORCH_REPO") or "https://download.pytorch.org/models").rstrip("/") + "/"


def mxnet_repository() -> str:
    """The address below which ``gluon/models/{file}.zip`` lie; ``MXNET_GLUON_REPO`` names a mirror."""
    default = "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com"
    return (os.environ.get("MXNET_GLUON_REPO") or default).rstrip("/") + "/"


def fetch(
    url: str,
    target: Path,
    *,
    sha256_prefix: str | None = None,
    sha1: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Fetch ``url`` to ``target``, unless the right file is there already; then the network is not touched.

    With a hash, a part that an earlier run left (``target`` + ``.part``) is continued; without one it cannot be told
    from another version and is dropped. A file that is there with a wrong hash is replaced once the right one is here.

    Args:
        url: an http or https address; proxies are those of the environment.
        target: the file to make; its folder is made too.
        sha256_prefix: the first 8 or more hexadecimal digits of the SHA-256, as in ``vgg19-dcbb9e9d.pth``.
        sha1: the whole SHA-1.
        progress: called with the bytes that are here and those expected (None: unknown), after each piece.

    Raises:
        WeightsError: no file could be had, or not the published one; the message says where to put it by hand.
        SettingError: a hash that is none.

    Example:
        >>> name = "vgg19-dcbb9e9d.pth"  # doctest: +SKIP
        >>> fetch(torch_repository() + name, torch_cache() / name, sha256_prefix="dcbb9e9d")  # doctest: +SKIP
    """
    digest = Digest(sha256_prefix, sha1)
    stale = _stale(target, digest)
    if stale is None:
        return target
    with _explained(url, target, stale), part_of(target) as part:
        if not digest.known:
            part.empty()
        _obtain(url, part, digest, progress)
        part.publish(target)
    return target


def fetch_zipped(
    url: str,
    target: Path,
    *,
    sha1: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Fetch a zip archive that holds one ``.params`` file, as MXNet's store has them, and make that file ``target``.

    ``sha1`` is that of the ``.params`` file. The archive is kept no longer than it is needed. Everything else, and the
    errors, are as with `fetch`.

    Example:
        >>> url = mxnet_repository() + "gluon/models/squeezenet1.1-33ba0f93.zip"  # doctest: +SKIP
        >>> fetch_zipped(url, mxnet_cache() / "squeezenet1.1-33ba0f93.params", sha1=sha1)  # doctest: +SKIP
    """
    digest = Digest(sha1=sha1)
    stale = _stale(target, digest)
    if stale is None:
        return target
    with (
        _explained(url, target, stale),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch,
        part_of(Path(scratch, "archive.zip")) as part,
    ):
        _obtain(url, part, Digest(), progress)
        unpack(part.path, target, digest)
    return target


def _obtain(url: str, part: Part, digest: Digest, progress: Progress | None) -> None:
    """The whole file in ``part``, verified; TransferError where it cannot be had."""
    continued = part.length() > 0
    transfer = Transfer(url, part, progress)
    _persist(transfer)
    problem = digest.problem(part.path)
    if problem and continued:  # what an earlier run left may have been of another version
        part.empty()
        _persist(transfer)
        problem = digest.problem(part.path)
    if not part.length():
        raise TransferError("the server sent an empty file")
    if problem:
        part.empty()
        raise TransferError(problem, final=True)


def _persist(transfer: Transfer) -> None:
    """Run ``transfer``, and again after a pause where it broke off."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return transfer.run()
        except TransferError as error:
            if error.final:
                raise
        time.sleep(PAUSE * 2**attempt)
    return transfer.run()


def _stale(target: Path, digest: Digest) -> str | None:
    """None where ``target`` is there and right; else what is wrong with what is there, empty where nothing is."""
    if target.is_dir():
        raise WeightsError(f"'{target}' is a folder, expected the name of a weights file.")
    return digest.problem(target) if target.exists() else ""


@contextmanager
def _explained(url: str, target: Path, stale: str) -> Iterator[None]:
    """Failures as one WeightsError that says what to do."""
    there = f" The file that is there now is not it either: {stale}." if stale else ""
    advice = f"Put it by hand into '{target.parent}' as '{target.name}', or give a file: --weights FILE."
    try:
        if not url.startswith(("http://", "https://")):
            raise TransferError("expected an address that starts with https:// or http://")
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except TransferError as error:
        raise WeightsError(f"The weights at {url} cannot be fetched: {error}.{there} {advice}") from None
    except OSError as error:
        reason = f"'{error.filename or target}': {error.strerror or error}"
        raise WeightsError(f"The weights at {url} cannot be kept: {reason}.{there} {advice}") from None
