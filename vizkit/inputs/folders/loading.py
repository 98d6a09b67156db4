"""Reading images ahead of the network, in threads."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ...contract.backend import cpu_count
from ...contract.errors import ImageError
from ...contract.spec import InputSpec
from .. import images
from ..images import Batch
from ..pictures import Pictures, Skipped


class Loader:
    """Images by their place in the list, prepared for a network; those that follow are read meanwhile.

    Holds at most the images asked for and ``ahead`` more, whatever the length of the list. Use it in a ``with``.
    ``waited`` are the seconds that whoever fetches has waited for them.
    """

    def __init__(self, pictures: Pictures, spec: InputSpec, *, fit: str, input_range: str, ahead: int) -> None:
        self.pictures = pictures
        self.spec = spec
        self.fit = fit
        self.input_range = input_range
        self.ahead = ahead
        self.waited = 0.0
        self.waiting: dict[int, Future[Batch | Skipped]] = {}
        self.pool = ThreadPoolExecutor(min(4, cpu_count()), thread_name_prefix="vizkit-images")

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_error: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.waiting.clear()

    def fetch(self, start: int, stop: int) -> tuple[list[int], Batch | None, list[Skipped]]:
        """Images ``start`` to ``stop``: the places of those that can be read, they as one batch (None when there are
        none), and the others. The same range may be asked for again; those before ``start`` are forgotten."""
        began = time.perf_counter()
        try:
            return self._fetch(start, stop)
        finally:
            self.waited += time.perf_counter() - began

    def _fetch(self, start: int, stop: int) -> tuple[list[int], Batch | None, list[Skipped]]:
        for index in [index for index in self.waiting if index < start]:
            del self.waiting[index]
        for index in range(start, min(stop + self.ahead, len(self.pictures))):
            if index not in self.waiting:
                self.waiting[index] = self.pool.submit(self._read, index)
        found = [(index, self.waiting[index].result()) for index in range(start, stop)]
        read = [(index, one) for index, one in found if isinstance(one, Batch)]
        skipped = [one for _, one in found if isinstance(one, Skipped)]
        if not read:
            return [], None, skipped
        ranges = {one.input_range for _, one in read}
        if len(ranges) > 1:
            raise ImageError(images.MIXED)
        places = [index for index, _ in read]
        batch = Batch(
            np.concatenate([one.tensor for _, one in read]),
            np.concatenate([one.pictures for _, one in read]),
            tuple(self.pictures.names[index] for index in places),
            ranges.pop(),
        )
        return places, batch, skipped

    def _read(self, index: int) -> Batch | Skipped:
        try:
            return images.prepare([self.pictures.items[index]], self.spec, fit=self.fit, input_range=self.input_range)
        except ImageError as error:
            return Skipped(self.pictures.names[index], str(error))
