"""Which part of the input an output comes from, by gradients and by attention."""
