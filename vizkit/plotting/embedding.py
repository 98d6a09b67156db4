"""The figure of an embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .base import new, origin, panel

if TYPE_CHECKING:
    from ..techniques.embedding import Embedding


def embedding(found: Embedding) -> Figure:
    """The scatter under a title that says what it is of, with a legend of the labels."""
    from ..embedding import scatter

    drawn, _, shown = scatter.canvas(found)
    tones = scatter.colours(found.labels)
    made = found.provenance["settings"]
    figure = new(9.6 if tones else 8.0, 8.7)
    axes = figure.subplots()
    panel(axes, drawn)
    rest = f"{shown} pictures, {len(found.values) - shown} more as dots" if shown < len(found.values) else ""
    moved = f"none covers another: moved by up to {scatter.REACH} widths from their places"
    method = {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal components"}[found.method]
    pooled = {"mean": "averaged over positions", "max": "greatest over positions", "none": "all positions"}
    features = f"{method} of {found.layer} ({pooled[made['pool']]}, {made['components']} components)"
    lines = [origin(found), features, ", ".join(filter(None, [rest, moved])), found.text()]
    axes.set_title("\n".join(lines), fontsize=8.5, loc="left")
    if tones:
        patches = [Patch(color=tone, label=name[:28]) for name, tone in list(tones.items())[:40]]
        more = f"{len(tones) - 40} more" if len(tones) > 40 else None
        figure.legend(handles=patches, loc="outside right upper", fontsize=8, frameon=False, title=more)
    return figure
