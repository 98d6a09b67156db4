"""The picture and the page of an embedding: :func:`page.write` makes one self-contained HTML file with hover thumbnails
and search, :func:`scatter.figure` the image scatter."""

from .page import write

__all__ = ["write"]
