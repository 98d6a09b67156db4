"""The page of an activation atlas: :func:`write` makes one self-contained HTML file with a map to zoom into."""

from .page import write

__all__ = ["write"]
