"""The documentation: pages, notebooks, and what builds them."""
