"""The published homework, as one page."""
