"""What layers and units respond to."""
