"""Maps over the pixels of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..contract.backend import Array
from ..contract.errors import SettingError
from ..inputs.images import Batch
from .base import Result, chosen, drawing
from .overlay import Overlay

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False)
class Attribution(Result):
    """Maps (N, H, W) over the pixels of N pictures, (N, T) over signals, (N, D, H, W) over volumes; ``batch`` are the
    pictures, ``targets`` the class indices (None for the sum of all logits; numbers beyond the classes are scores of
    :mod:`vizkit.targets`), ``labels`` their names. ``signed`` maps have a meaningful zero and both signs. ``layer`` is
    the layer that the method looked at, where it has one; ``extra`` are further arrays that :meth:`save` keeps."""

    batch: Batch
    targets: tuple[int | None, ...]
    labels: tuple[str, ...]
    signed: bool = False
    layer: str | None = None
    extra: Mapping[str, Array] = field(default_factory=dict)

    def arrays(self) -> dict[str, Array]:
        return {"values": self.values, "pictures": self.batch.pictures, **self.extra}

    def plot(
        self,
        ax: Axes | None = None,
        *,
        cmap: str | None = None,
        alpha: float = 0.8,
        threshold: float = 0.0,
        on: str = "network",
    ) -> Any:
        """Draw the overlay of a single picture's map into ``ax``, and return the axes; options as :meth:`overlay` has
        them. Without ``ax``, the axes of :meth:`figure`.

        Raises SettingError for several pictures: take one, ``result[0].plot(ax)``.
        """
        if ax is None or self.values.ndim != 3:
            return super().plot(ax)
        if len(self) != 1:
            raise SettingError(f"These are {len(self)} maps, and these axes take one: result[0].plot(ax).")
        ax.imshow(self.overlay(on=on, alpha=alpha, threshold=threshold, cmap=cmap)[0])
        ax.set_title(f"{self.provenance['technique']}: {self.labels[0]}", fontsize=9)
        ax.set_axis_off()
        return ax

    def overlay(
        self, *, on: str = "network", alpha: float = 0.8, threshold: float = 0.0, cmap: str | None = None
    ) -> Overlay:
        """The maps laid over their photos, pixel by pixel: strong where the map is, the plain photo elsewhere.

        ``out = (1 - a) photo + a colour``, ``a = alpha * s``. The share ``s`` is ``min(|v| / end, 1)`` of signed maps
        and ``min((v - low) / (end - low), 1)`` of others: ``end`` is the 99.5th percentile of ``|v|``, ``low`` the
        map's smallest value.

        Args:
            on: "network", the picture as the network sees it; "original", the photo in its own size, of which the part
                that the network saw carries the map, in a frame.
            alpha: how much of the photo the strongest places hide, in 0..1.
            threshold: leave places out whose share of ``end`` is below, in 0..1.
            cmap: matplotlib's colour map; None takes "inferno", for signed maps "RdBu_r", white at zero.

        Returns:
            :class:`vizkit.overlay.Overlay` with a picture uint8 (H, W, 3) for each map; ``.save("x.png")`` writes it.

        Raises:
            SettingError, UnknownNameError for a colour map, ImageError where the photo has gone since.

        Example:
            >>> import vizkit
            >>> model = vizkit.load("squeezenet1_1", weights="random:7")
            >>> vizkit.gradcam(model, vizkit.images.sample()).overlay(on="original")[0].shape
            (300, 451, 3)
        """
        laid: Overlay = drawing().overlay(self, on=on, alpha=alpha, threshold=threshold, cmap=cmap)
        return laid

    def line(self) -> str:
        of = ", ".join(dict.fromkeys(self.labels))
        return f"{super().line()}: {of}" + (f", layer {self.layer}" if self.layer else "")

    def __getitem__(self, which: int | slice | Sequence[int]) -> Attribution:
        """One picture's result, or some pictures'."""
        some, made = chosen(self, which)
        return replace(
            self,
            values=self.values[some],
            provenance=made,
            batch=self.batch.part(some),
            targets=tuple(self.targets[i] for i in some),
            labels=tuple(self.labels[i] for i in some),
            extra={key: one[some] if len(one) == len(self) else one for key, one in self.extra.items()},
        )
