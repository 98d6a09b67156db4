"""A framework for the toy backend: a network is data, and knows no gradients."""

from dataclasses import dataclass


@dataclass
class Network:
    """``layers`` in a row, each a kind and its settings: conv (padding), linear, norm (eps), relu, max_pool, avg_pool
    (size), dropout (rate), flatten. ``parameters`` are arrays by "0.weight", "0.bias", of norms then mean and var."""

    layers: list
    parameters: dict
