"""Relevance: what goes back through each operation by a rule of its own, and not by its derivative."""
