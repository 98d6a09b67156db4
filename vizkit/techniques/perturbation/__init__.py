"""What an output loses when a part of the input is taken away."""
