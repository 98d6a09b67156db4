"""The comparison study: models x backends x weights x techniques x images, in one report folder.

Each cell (one network in one framework, one technique, one image) is computed in a process that holds that framework
alone, and kept as an ``.npz`` with its raw arrays, its times and its memory. All numbers come from these files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = "vizkit-compare"
KEPT_BACK = ("study", "out", "tell", "workers", "scheduler")
"""What belongs to a run of a study, not to the study."""
Names = str | Sequence[str]
Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Comparison:
    """A finished study: ``index`` is its page, ``results`` what ``results.json`` holds."""

    index: Path
    results: Mapping[str, Any]

    @property
    def failures(self) -> list[Mapping[str, str]]:
        """Cells that could not be computed, each with its ``error``."""
        return list(self.results["failures"])

    def beyond(self, tolerance: float) -> list[Mapping[str, Any]]:
        """Comparisons of two backends whose relative L2 exceeds the tolerance, or is no number."""
        from . import pairs

        rows = self.results["comparisons"]
        return [row for row in rows if row["relation"] == pairs.BACKENDS and pairs.beyond(row, tolerance)]

    def __repr__(self) -> str:
        return f"<comparison of {len(self.results['cells'])} cells, {len(self.failures)} failed: {self.index}>"


def compare(
    image: Files | None = None,
    *,
    study: str | os.PathLike[str] | None = None,
    model: Names | None = None,
    backend: Names | None = None,
    weights: Names | None = None,
    technique: Names | None = None,
    layers: Names | None = None,
    target: int | str | None = None,
    fit: str | None = None,
    input_range: str | None = None,
    seed: int | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    device: str | None = None,
    repeats: int | None = None,
    threads: int | None = None,
    tolerance: float | None = None,
    judge: bool | None = None,
    out: str | os.PathLike[str] = FOLDER,
    tell: Callable[[str], None] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Comparison:
    """Compute a study, or what is missing of it, and write its report.

    Args:
        image: image files; default the bundled photo of a cat.
        study: a TOML file with any of these options by these names, lists for several; what is given here replaces the
            file's. Relative names in it are looked for beside it.
        model: names as :func:`vizkit.load` has them.
        backend: default every installed one; the first is what the others are held against.
        weights: "imagenet" (default), "random:SEED", a file, or MODEL=FILE for one of several models.
        technique: names of attribution methods, "feature_maps" (activations, layer by layer), "predict" (logits alone),
            or "all" but those of attention, which go by name; default saliency and feature_maps.
        layers: of feature_maps: "blocks" (default; layers whose name has two parts at most, such as ``layer3.35``),
            "all", or names. Raw activations of all compared layers are kept, and in float64 for the judge, so that
            "all" of a ResNet152 takes about 0.7 GB an image.
        target: a class index, a label, "all"; default each network's own top-1.
        fit, input_range: as :func:`vizkit.saliency` has them, for all techniques; default "crop" and "imagenet".
        seed: of every technique that draws; default 0.
        settings: settings of techniques by their names, such as ``{"integrated_gradients": {"steps": 20}}``.
        device: default "cpu".
        repeats: timed runs of a cell, after one that is not counted; default 5.
        threads: of one operator, in every framework; default all processors.
        tolerance: relative L2 beyond which backends diverge; default 1e-5.
        judge: whether PyTorch in float64 judges which backend is off; default yes, where PyTorch is installed.
        out: the folder: new, empty, or an earlier study's, of which finished cells are kept.
        tell: called with messages for the user.
        workers, scheduler: who does the work, as for :func:`vizkit.explain`; a technique of a network in a backend is a
            task, which still gets a process of its own with ``threads`` threads. Values are the same, and times those
            of a machine that is busy: with several workers give ``threads`` their share.

    Returns:
        :class:`Comparison`; ``.index`` is the page. Beside it lie ``results.json``, ``results.csv`` (one number a row),
        ``study.toml``, the pictures, and ``cells/`` with the raw arrays of each cell.

    Raises:
        SettingError, UnknownNameError, ImageError or BackendMissingError for a study that cannot run; VizkitError when
        every cell fails. A cell that fails while others do not is reported in its place.

    Example:
        >>> import vizkit
        >>> vizkit.compare(model="shapes", technique="gradcam", out="report").index  # doctest: +SKIP
        PosixPath('report/index.html')
    """
    given = dict(locals())
    from . import plan
    from . import study as running

    options = {name: value for name, value in given.items() if name not in KEPT_BACK}
    return running.run(plan.make(study, options), Path(out), tell or (lambda note: None), workers, scheduler)


__all__ = ["Comparison", "compare"]
