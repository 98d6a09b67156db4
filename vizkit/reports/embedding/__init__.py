"""The picture and the page of an embedding: :func:`page.write` makes one self-contained HTML file with hover thumbnails
and search, :mod:`scatter` places them."""

from .page import write

__all__ = ["write"]
