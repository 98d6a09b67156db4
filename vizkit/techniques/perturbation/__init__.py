"""Perturbation: what the score loses when a part of the picture is taken away."""
