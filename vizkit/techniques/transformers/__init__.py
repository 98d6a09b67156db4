"""Attention: which tokens a transformer looks at, and what the class gains by it."""
