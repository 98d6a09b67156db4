"""Looking into a network live, in a browser."""
