"""A network that several threads use at the same time, as a notebook's cell and the explorer do."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from kits import TRAPS, TRAPS_SIZE

import vizkit


def test_threads_see_nothing_of_one_another(kit: Any) -> None:
    """Each keeps another layer and stops there."""
    model = vizkit.wrap(kit.sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    names = [name for name, layer in model.layers.items() if len(layer.shape) == 4]
    x = np.random.default_rng(0).normal(size=(2, *model.spec.shape))
    wanted = {name: model.ops.numpy(model.forward(model.ops.asarray(x), (name,))[name]) for name in names}
    wrong: list[str] = []

    def work(chosen: list[str]) -> None:
        try:
            for name in chosen * 8:
                with model.held():
                    found = model.ops.numpy(model.forward(model.ops.asarray(x), (name,))[name])
                if not np.array_equal(found, wanted[name]):
                    wrong.append(name)
        except BaseException as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(chosen,)) for chosen in (names, names[::-1], names[1::2])]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong
    assert model._held is None
