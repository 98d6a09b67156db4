"""Gradients: how the score moves with the picture, or with a layer."""
