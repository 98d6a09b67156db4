"""The command line that is running, which provenance names."""

from __future__ import annotations

from contextvars import ContextVar

COMMAND: ContextVar[str | None] = ContextVar("COMMAND", default=None)
"""As the user wrote it, without what changes no result, such as its --out; None in a Python session."""
