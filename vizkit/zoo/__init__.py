"""Networks: their names, inputs, labels and weights."""
