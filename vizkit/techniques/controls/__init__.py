"""Controls: maps that know nothing of the network, which a method must beat."""

CONTROLS = ("random_map", "edge_map", "centre_map")
"""The techniques of this folder, in the order of tables and figures."""
